"""The time that is left, as a person reads it."""

from types import SimpleNamespace

import pytest
from freescale.nodes.host import progress


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3569, "59 min"), (3571, "1 h 0 min"), (4900, "1 h 22 min")],
)
def test_durations(seconds, words):
    assert progress.duration_text(seconds) == words


def test_the_time_left_is_told_from_the_second_step_on(monkeypatch):
    """The first step, which loads and warms up, says nothing of the others."""
    clock, said, seen = iter([0, 100, 110, 120, 130]), [], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    callback = progress.with_time_left(lambda *args: seen.append(args), 4, said.append)
    for step in range(4):
        callback(step, "x0", "x", 4)
    assert seen == [(step, "x0", "x", 4) for step in range(4)]
    assert said == ["step 2 of 4, about 20 s left", "step 3 of 4, about 10 s left", "4 steps took 2 min"]


@pytest.mark.parametrize("graph", [None, object()])
def test_without_a_server_a_stage_says_nothing(graph, monkeypatch):
    """A script has none, and ComfyUI no `instance` then, whatever graph it runs."""
    monkeypatch.delattr(progress.PromptServer, "instance", raising=False)
    progress.stage_display(SimpleNamespace(dynprompt=graph, unique_id="1"), 512, 512)("step 1 of 2")
