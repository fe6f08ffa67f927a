"""The command line: what each command takes for itself and what it passes on."""

import pytest

from tools import demo, serve, testing
from tools.__main__ import parse


def test_what_follows_test_belongs_to_pytest():
    args, rest = parse(["test", "-k", "mask", "tests/web", "--lf", "-h"])
    assert args.function is testing.run and rest == ["-k", "mask", "tests/web", "--lf", "-h"]
    assert parse(["table1", "--json", "a.json"])[1] == ["--json", "a.json"]
    args, rest = parse(["serve", "--port", "9", "--lowvram"])
    assert args.function is serve.run and args.port == 9 and rest == ["--lowvram"]
    assert parse(["demo"])[0].workflow == demo.WORKFLOW
    with pytest.raises(SystemExit):
        parse(["demo", "--nonsense"])


@pytest.mark.parametrize("cores, number", [(1, "1"), (2, "2"), (4, "4"), (64, "4")])
def test_a_worker_for_each_core_up_to_four(monkeypatch, cores, number):
    monkeypatch.setattr(testing, "physical_cores", lambda: cores)
    assert testing.workers(["tests/core", "-k", "square"]) == ["-n", number, "--dist", "loadfile", "--no-loadscope-reorder"]


@pytest.mark.parametrize("own", ["-n3", "--numprocesses=3", "-s", "-sv", "--capture=no", "--pdb"])
def test_a_person_who_says_how_is_heard(own):
    assert testing.workers(["tests/core", own]) == []


@pytest.mark.parametrize("said, threads", [(None, "1"), ("3", "3")])
def test_a_worker_has_one_thread_unless_a_person_says_another_number(monkeypatch, said, threads):
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert testing.threads() == {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
