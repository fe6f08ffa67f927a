"""dev.py and the tests on other people's machines."""

import pytest
import torch

from tools.folders import ROOT
from tools.prompts import upstream
from tools.testing import threads


class Counted(dict):
    """A prompt that knows how often each of its nodes was looked at."""

    def __getitem__(self, node):
        self.seen = [*getattr(self, "seen", ()), node]
        return super().__getitem__(node)


@pytest.mark.parametrize("diamonds", [1, 28, 2000])
def test_every_node_of_many_diamonds_is_looked_at_once(diamonds):
    """A graph of 28 diamonds took dev.py's tools 20 minutes. Node n has two arms to node n − 1: as many ways lead down as 2 to the power of the diamonds."""
    prompt = Counted({"0": {"inputs": {}}})
    for n in range(1, diamonds + 1):
        prompt |= {f"{n}{arm}": {"inputs": {"x": [str(n - 1), 0]}} for arm in "ab"}
        prompt[str(n)] = {"inputs": {"x": [f"{n}a", 0], "y": [f"{n}b", 0], "z": 1.5}}
    assert upstream(prompt, str(diamonds)) == {*prompt} - {str(diamonds)}
    assert sorted(prompt.seen) == sorted(prompt)


def test_as_many_threads_for_everybody(monkeypatch):
    """`python dev.py test` without OMP_NUM_THREADS: equal bits were expected of two numbers of threads. Now each worker has one."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert threads() == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads() == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    assert torch.get_num_threads() == 1  # here, whatever a person says: other threads are other bits
    promise = (ROOT / "README.md").read_text("utf-8").partition("**Same seed, same bits,**")[2].partition("\n- ")[0]
    assert "the same number of threads" in " ".join(promise.split())
