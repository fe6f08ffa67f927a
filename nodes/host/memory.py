"""What a picture takes of the device's memory, said before it is missing."""

from math import prod, sqrt
from typing import Any, cast

import comfy.model_management
from comfy.model_patcher import ModelPatcher

from .errors import bad_input
from .family import family_of


def require_memory(node: str, stages: str, model: ModelPatcher, batch: int, sizes: list[tuple[int, int]]) -> None:
    """Refuse sizes (height, width) px that the device cannot hold even when it is empty, and name one that it may hold."""
    if comfy.model_management.directml_enabled:  # ComfyUI does not know how much such a device has
        return
    family, (height, width) = family_of(model, node), max(sizes, key=prod)
    batch = at_once(model, batch)
    least = family.call_bytes(batch, height, width)
    total = cast(int, comfy.model_management.get_total_memory(model.load_device))
    if least <= total:
        return
    shrink = sqrt(total / least)
    fitting = "x".join(str(int(side * shrink) // family.side_step * family.side_step) for side in (width, height))
    batched, fewer = f", {batch} pictures or frames at once,", ", or fewer at once"
    taken = f"{width}x{height} px{batched * (batch > 1)} takes at least {memory_text(least)} of memory beside the model"
    problem = f"{taken}, and the device has {memory_text(total)}. Up to {fitting} may fit{fewer * (batch > 1)}"
    raise bad_input(node, "stages", stages, problem)


def at_once(model: ModelPatcher, batch: int) -> int:
    """How many pictures of a batch, or frames of a film, are drawn at a time, at least: of a long clip a context window.

    Windows of packs that inject layers into U-Nets, as AnimateDiff-Evolved does, are known to them alone: it counts as one frame.
    """
    windows: Any = model.model_options.get("context_handler")
    if windows is not None and windows.dim in (0, 2):
        return min(batch, windows.context_length)
    foreign = model.injections.keys() - {"bypass_lora"}  # the host's own, for any model
    return 1 if foreign and family_of(model).batch_may_be_clip else batch


def memory_text(size: int) -> str:
    """A number of bytes as people read it: 340 MB, 1.7 GB."""
    return f"{size / 2**20:.0f} MB" if size < 2**30 else f"{size / 2**30:.1f} GB"
