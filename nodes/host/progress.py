"""What a person sees while a cascade runs, beyond ComfyUI's own progress bar and previews."""

import time
from collections.abc import Callable
from typing import Any

from server import PromptServer

STAGE = "FreeScaleCascadeStage"
Say = Callable[[str], None]


def stage_text(hidden: Any, width: int, height: int) -> Say:
    """What shows a text after "stage k of n" on the cascade's node. `hidden` has the stage's unique_id and the running graph."""
    graph, own_id = hidden.dynprompt, hidden.unique_id
    parent = graph.get_parent_node_id(own_id)
    siblings = [
        i for i in graph.all_node_ids() if graph.get_parent_node_id(i) == parent and graph.get_node(i)["class_type"] == STAGE
    ]
    if parent is None or own_id not in siblings:  # wired by hand
        return lambda text: None
    title = f"stage {own_id.rsplit('stage', 1)[-1]} of {len(siblings)}: {width} × {height} px"
    shown_on = graph.get_display_node_id(own_id)
    return lambda text: PromptServer.instance.send_progress_text(f"{title}, {text}", shown_on)


def with_time_left(callback: Callable, steps: int, say: Say) -> Callable:
    """A sampler's callback that also says how long the rest takes, from the second step on: the first one warms up."""
    began, first = time.monotonic(), None

    def timed(step, *args):
        nonlocal first
        callback(step, *args)
        now = time.monotonic()
        if step + 1 == steps:
            say(f"{steps} steps took {in_words(now - began)}")
        elif first is None:
            first = now
        elif 0 < step < steps:
            say(f"step {step + 1} of {steps}, about {in_words((now - first) / step * (steps - 1 - step))} left")

    return timed


def in_words(seconds: float) -> str:
    """A duration as people say it: 40 s, 12 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
