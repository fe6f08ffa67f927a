"""Self-attentions that are computed otherwise for the length of a call, on top of whatever was there before."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from comfy.ldm.modules import attention
from torch import Tensor

from ....freescale_core.attention import Attend
from ....freescale_core.chunks import in_halves
from ..family import AttentionLayer, Family, Grid

Compute = Callable[[AttentionLayer, Attend, Tensor, Tensor, Tensor, Grid], Tensor]

# The options carry another pack's override of the attention, which the oldest hosts do not have.
_TAKES_OPTIONS = "kwargs" in inspect.signature(attention.optimized_attention).parameters


def replaced_attention(
    options: dict,
    family: Family,
    layers: Iterable[AttentionLayer],
    compute: Compute,
    on_other_tokens: Callable[[AttentionLayer], None] = lambda layer: None,
) -> dict:
    """A copy of transformer_options in which these self-attentions are `compute`, chained to the replacements already there.

    `compute(layer, attend, q, k, v, grid)` gets projected tokens [B, h·w, C] and has the attention that was there before as
    `attend(q, k, v, grid)`. A layer whose tokens are not the picture's keeps its attention and is passed to `on_other_tokens`.
    """
    present = options.get("patches_replace", {}).get("attn1", {})
    replaced = dict(present)
    for layer in layers:
        # A later one of ours takes the place of an earlier one, and both run on what was there before.
        before = present.get(layer, present.get(layer[:2]))
        before = before.before if isinstance(before, _Replacement) else before
        replaced[layer] = _Replacement(family, layer, compute, on_other_tokens, before)
    return {**options, "patches_replace": {**options.get("patches_replace", {}), "attn1": replaced}}


def replaced_by_others(options: dict) -> frozenset[tuple]:
    """Layers, or blocks, whose self-attention is another pack's."""
    present = options.get("patches_replace", {}).get("attn1", {})
    return frozenset(
        layer for layer, attend in present.items() if not isinstance(attend, _Replacement) or attend.before is not None
    )


def with_patch(options: dict, name: str, patch: Callable, first: bool = False) -> dict:
    """A copy of transformer_options with one patch more of a kind that stacks."""
    patches = options.get("patches", {})
    present = patches.get(name, [])
    return {**options, "patches": {**patches, name: [patch, *present] if first else [*present, patch]}}


class _Replacement:
    """One layer's attention for the length of one call."""

    def __init__(
        self, family: Family, layer: AttentionLayer, compute: Compute, on_other_tokens: Callable, before: Callable | None
    ):
        self.family, self.layer, self.compute, self.on_other_tokens, self.before = family, layer, compute, on_other_tokens, before

    @torch.compiler.disable  # its windows are drawn by numpy, anew at every step: nothing to compile once and keep
    def __call__(self, q, k, v, extra_options, **kwargs):
        rows, channels, *own_grid = extra_options["activations_shape"]

        def attend(q, k, v, grid):
            extra = {**extra_options, "activations_shape": [q.shape[0], channels, *grid]}
            if self.before is not None:
                return self.before(q, k, v, extra, **kwargs)
            return _attend(q, k, v, extra, halves=q.shape[0] == rows)

        grid = self.family.picture_grid(q, k, extra_options)
        if grid is None:
            self.on_other_tokens(self.layer)
            return attend(q, k, v, own_grid)
        return self.compute(self.layer, attend, q, k, v, grid)


def _attend(q: Tensor, k: Tensor, v: Tensor, extra: dict, halves: bool) -> Tensor:
    """The host's attention, as it is now; where memory runs out, in `halves` of the queries.

    Fewer windows at a time come first, so a stack of them is not halved here.
    """
    options: dict[str, Any] = {"transformer_options": extra} if _TAKES_OPTIONS else {}

    def attend(q: Tensor) -> Tensor:
        return attention.optimized_attention(q, k, v, extra["n_heads"], attn_precision=extra.get("attn_precision"), **options)

    return in_halves(attend, q, dim=1) if halves else attend(q)
