"""Calls that get more or other rows than ComfyUI batched."""

from collections.abc import Callable
from typing import Any

import torch

from ..errors import bad_input


def map_rows(value: Any, batch: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`value` with `change` made to every tensor of `batch` rows in it: conditionings follow the latents' batch."""
    if isinstance(value, torch.Tensor):
        return change(value) if value.ndim and value.shape[0] == batch else value
    if isinstance(value, dict):
        return {k: map_rows(v, batch, change) for k, v in value.items()}
    return [map_rows(v, batch, change) for v in value] if isinstance(value, list) else value


def require_own_rows(options: dict, node: str) -> None:
    """Refuse GLIGEN where a call gets more rows than ComfyUI batched: its boxes are of those rows, and would not fit."""
    if options.get("patches", {}).get("middle_patch"):
        problem = (
            "its boxes are of whole pictures, and this method draws more or other ones. Remove GLIGEN from this stage's prompts"
        )
        raise bad_input(node, "model", "with GLIGEN", problem)
