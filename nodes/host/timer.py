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
    """Seconds by the node that sampled. It outlives a run, as cached nodes do: who samples again replaces its own."""

    before: "Timer | None" = None  # whose seconds count too
    _taken: dict[str, tuple[str, float]] = field(default_factory=dict)  # node → (run, seconds)

    def add(self, node: str, run: str, seconds: float) -> None:
        """A node samples more than once in a run where it is given a list."""
        last, sum_so_far = self._taken.get(node, (run, 0.0))
        self._taken[node] = run, seconds + (sum_so_far if last == run else 0.0)

    def seconds(self, graph: dict) -> float:
        """Of the nodes that are still in the graph; "7.0.0.stage1" is what node 7 expanded into."""
        own = sum(seconds for node, (_, seconds) in self._taken.items() if node.split(".")[0] in graph)
        return own + (self.before.seconds(graph) if self.before else 0.0)


def with_timer(model: ModelPatcher, timer: Timer) -> ModelPatcher:
    """A clone of `model` whose every sampling is added to `timer`: the sampler alone, without loading and VAE."""

    def around_sampler(executor, *args, **kwargs):
        began = time.perf_counter()
        samples = executor(*args, **kwargs)
        _finish(samples)
        if context := get_executing_context():
            timer.add(context.node_id, context.prompt_id, time.perf_counter() - began)
        return samples

    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, around_sampler)
    return patched


def _finish(samples: torch.Tensor) -> None:
    """A GPU answers before it is done: reading a value waits for it."""
    samples.flatten()[0].item()
