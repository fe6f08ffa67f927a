"""What a person sees while a cascade runs, beyond ComfyUI's own progress bar and previews."""

import time
from collections.abc import Callable
from typing import Any

import torch
from server import PromptServer

from .stage.expansion import STAGE, in_queue

MESSAGE = "freescale_stage"  # {node, text}, for js/stage_text.js; ComfyUI's own progress text would be gone with the run

Show = Callable[[str], None]


def stage_display(hidden: Any, width: int, height: int) -> Show:
    """What shows a text below "Stage k of n" and the size on the cascade's node.

    `hidden` has the stage's unique_id and the running graph.
    """
    # A script has no server; and what is said of a program's prompt, without a client's id, would reach every open editor.
    server = getattr(PromptServer, "instance", None)
    if server is None or not in_queue(hidden) or server.client_id is None:
        return lambda text: None
    graph, own_id = hidden.dynprompt, hidden.unique_id
    parent = graph.get_parent_node_id(own_id)
    siblings = [
        i for i in graph.all_node_ids() if graph.get_parent_node_id(i) == parent and graph.get_node(i)["class_type"] == STAGE
    ]
    if parent is None or own_id not in siblings:  # wired by hand
        return lambda text: None
    place = f"Stage {own_id.rsplit('stage', 1)[-1]} of {len(siblings)}: " if len(siblings) > 1 else ""
    title = f"{place}{width} × {height} px"
    shown_on = graph.get_display_node_id(own_id)
    return lambda text: server.send_sync(MESSAGE, {"node": shown_on, "text": f"{title}\n{text}"}, server.client_id)


def first_step_text() -> str:
    """What a stage adds about its first step: ROCm tunes each new size, for minutes."""
    return ". The first step of a new size may take minutes on ROCm, later runs are fast" if torch.version.hip else ""


def with_time_left(callback: Callable, steps: int, show: Show) -> Callable:
    """A sampler's callback that also shows how long the rest takes, from the second step on: the first one warms up."""
    started, first_done = time.monotonic(), None

    def timed(step, *args):
        nonlocal first_done
        callback(step, *args)
        time_now = time.monotonic()
        if step + 1 == steps:
            show(f"{steps} steps took {duration_text(time_now - started)}")
        elif first_done is None:
            first_done = time_now
        elif 0 < step < steps:
            remaining = (time_now - first_done) / step * (steps - 1 - step)
            show(f"step {step + 1} of {steps}, about {duration_text(remaining)} left")

    return timed


def duration_text(seconds: float) -> str:
    """A duration as people say it: 40 s, 12 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
