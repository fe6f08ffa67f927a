"""How long the samplings of a graph take."""

import time
from dataclasses import dataclass, field

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context

KEY = "freescale_timer"


@dataclass
class Timer:
    """Seconds by the node that sampled. It outlives a run, as cached nodes do: who samples again replaces its own.

    In a script there are neither nodes nor runs, and everything counts.
    """

    node: str | None  # the FreeScale Timer that it belongs to
    before: "Timer | None" = None  # whose seconds count too
    _taken: dict[str, tuple[str, float]] = field(default_factory=dict)  # node → (run, seconds)

    def add(self, node: str, run: str, seconds: float) -> None:
        """A node samples more than once in a run where it is given a list."""
        last, sum_so_far = self._taken.get(node, (run, 0.0))
        self._taken[node] = run, seconds + (sum_so_far if last == run else 0.0)

    def seconds(self, graph: dict | None) -> float:
        """Of the nodes that still depend on the timer in this prompt; "7.0.0.stage1" is what node 7 expanded into."""
        own = sum(
            seconds
            for node, (_, seconds) in self._taken.items()
            if graph is None or self.node in _upstream(graph, node.split(".")[0])
        )
        return own + (self.before.seconds(graph) if self.before else 0.0)


def _upstream(graph: dict, node: str) -> set[str]:
    """Every node of a prompt that a node depends on."""
    found, ahead = set(), [node]
    while ahead:
        inputs = graph.get(ahead.pop(), {}).get("inputs", {})
        new = {str(value[0]) for value in inputs.values() if isinstance(value, list) and len(value) == 2} - found
        found |= new
        ahead += new
    return found


def with_timer(model: ModelPatcher, timer: Timer) -> ModelPatcher:
    """A clone of `model` whose every sampling is added to `timer`: the sampler alone, without loading and VAE."""

    def around_sampler(executor, *args, **kwargs):
        began = time.perf_counter()
        samples = executor(*args, **kwargs)
        _finish(samples)
        context = get_executing_context()
        node, run = (context.node_id, context.prompt_id) if context else ("", "")
        timer.add(node, run, time.perf_counter() - began)
        return samples

    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, around_sampler)
    return patched


def _finish(samples: torch.Tensor) -> None:
    """A GPU answers before it is done: reading a value waits for it."""
    samples.flatten()[0].item()
