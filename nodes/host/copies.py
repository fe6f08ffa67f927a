"""Models of the pack's own loaders, for hosts that make a model once more for each device."""

from collections.abc import Callable
from typing import Any

from comfy.model_patcher import ModelPatcher


def tell_how_to_make(patcher: Any, make: Callable[[], ModelPatcher]) -> None:
    """Let the host make another one of a patcher, with modules of its own."""
    if hasattr(patcher, "cached_patcher_init"):
        patcher.cached_patcher_init = (_once_more, (make,))


def _once_more(make: Callable[[], ModelPatcher], disable_dynamic: bool = False) -> ModelPatcher:
    """As the host calls it. `disable_dynamic` asks for what the model is anyway: none of dynamic VRAM."""
    return make()
