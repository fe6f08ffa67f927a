"""Scale Fusion on a MODEL.

What acts is one wrapper around the model's call. While a call is enlarged and inside the sigma range, the wrapper hands
the U-Net a copy of its options in which every chosen self-attention is replaced; the replacement runs on top of whatever
was there. Outside of that the call is the host's own, but for feed-forwards in parts (memory.py).
"""

import hashlib
import inspect
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...freescale_core.attention import fold_feature_blur, global_attention, is_out_of_memory, local_attention, scale_fusion
from ...freescale_core.geometry import Enlargement, fixed_views, jittered_views, window_plan
from ...freescale_core.grammar import Selection
from .errors import bad_input
from .memory import lower_feed_forwards
from .model import attention_layers, latent_enlargement, native_side, percent_range, remember_native_size

KEY = "freescale_scale_fusion"
BRANCHES = BOTH, GLOBAL_ONLY, LOCAL_ONLY = ("both", "global only", "local only")
# The options carry another pack's override of the attention, which the oldest hosts do not have.
FINE = 4  # latent cells per token, at most, of the layers that "mixed" strides: of SDXL the 10 at half the latent's size
# Draft's windows: measured on the demo model, the down and middle blocks and the first steps change the picture least.
DRAFT_SECTION, DRAFT_START_PERCENT = "output", 0.55
_TAKES_OPTIONS = "kwargs" in inspect.signature(attention.optimized_attention).parameters


@dataclass(frozen=True)
class ScaleFusion:
    """The settings of one ScaleFusionAttentionPatch."""

    branches: str  # both; or one alone, which the paper's ablation has
    global_attention: str  # full, strided, or mixed: strided in the layers that cost the most
    draft: bool  # windows only where they show most
    blur_features: bool
    jitter: bool
    seed: int
    native_size: int
    start_percent: float
    end_percent: float
    blocks: Selection


def with_scale_fusion(model: ModelPatcher, settings: ScaleFusion, node: str) -> ModelPatcher:
    """A clone of `model` whose chosen self-attentions do Scale Fusion whenever the picture is enlarged.

    Raises ValueError, in the name of `node`, where the chosen blocks have no self-attention.
    """
    patched = model.clone()
    remember_native_size(patched, settings.native_size)
    layers = [layer for layer in attention_layers(model) if settings.blocks.contains(*layer[:2])]
    if not layers:
        raise bad_input(
            node, "blocks", str(settings.blocks), f"none of them has self-attention. This model has it in {_blocks_of(model)}"
        )

    warn = _Once()

    def around_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        base, options, sigma = executor.class_obj, transformer_options or {}, float(t.flatten()[0])
        size = latent_enlargement(base, settings.native_size, *x.shape[-2:])
        highest, lowest = percent_range(base, settings.start_percent, settings.end_percent)
        if size and lowest <= sigma <= highest:
            draw = (settings.seed, sigma, *x.shape[-2:])
            late = sigma <= base.model_sampling.percent_to_sigma(DRAFT_START_PERCENT)
            options = replaced_attention(options, layers, partial(_fuse, settings, size, draw, late, warn))
            # First, because the patches of others expect the batch they know.
            options = with_patch(options, "attn1_output_patch", partial(_fold, size, frozenset(layers)), first=True)
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, around_model)
    lower_feed_forwards(patched, settings.native_size or native_side(model.model))
    return patched


def _blocks_of(model: ModelPatcher) -> str:
    names = ("middle" if section == "middle" else f"{section}.{block}" for section, block, _ in attention_layers(model))
    return ", ".join(dict.fromkeys(names))


def replaced_attention(options: dict, layers: list, fuse: Callable) -> dict:
    """A copy of the U-Net's options whose self-attentions are `fuse`, chained to the replacements already there.

    `fuse(layer, attend, q, k, v, extra)` has the attention that was there before as `attend(q, k, v, grid)`.
    """
    present = options.get("patches_replace", {}).get("attn1", {})
    replaced = dict(present)
    for layer in layers:
        # A later one of ours takes the place of an earlier one, and both run on what was there before.
        before = present.get(layer, present.get(layer[:2]))
        replaced[layer] = _Replacement(fuse, layer, before.before if isinstance(before, _Replacement) else before)
    return {**options, "patches_replace": {**options.get("patches_replace", {}), "attn1": replaced}}


def with_patch(options: dict, name: str, patch: Callable, first: bool = False) -> dict:
    """A copy of the U-Net's options with one patch more of a kind that stacks."""
    patches = options.get("patches", {})
    present = patches.get(name, [])
    return {**options, "patches": {**patches, name: [patch, *present] if first else [*present, patch]}}


class _Replacement:
    """One layer's attention for the length of one U-Net call."""

    def __init__(self, fuse: Callable, layer: tuple, before: Callable | None):
        self.fuse, self.layer, self.before = fuse, layer, before

    @torch.compiler.disable  # its windows are drawn by numpy, anew at every step: nothing to compile once and keep
    def __call__(self, q, k, v, extra_options, **kwargs):
        def attend(q, k, v, grid):
            _, channels, *_ = extra_options["activations_shape"]
            extra = {**extra_options, "activations_shape": [q.shape[0], channels, *grid]}
            if self.before is not None:
                return self.before(q, k, v, extra, **kwargs)
            return _attend(q, k, v, extra, halves=q.shape[0] == extra_options["activations_shape"][0])

        return self.fuse(self.layer, attend, q, k, v, extra_options)


def _attend(q, k, v, extra: dict, halves: bool):
    """The host's attention, as it is now; where memory runs out, in `halves` of the queries, each of which has its own softmax.

    Fewer windows at a time come first, so a stack of them is not halved here.
    """
    options: dict[str, Any] = {"transformer_options": extra} if _TAKES_OPTIONS else {}
    try:
        return attention.optimized_attention(q, k, v, extra["n_heads"], attn_precision=extra.get("attn_precision"), **options)
    except RuntimeError as error:
        if q.shape[1] == 1 or not halves or not is_out_of_memory(error):
            raise
    out = torch.empty_like(q)
    for queries, part in zip(q.chunk(2, dim=1), out.chunk(2, dim=1), strict=True):
        part.copy_(_attend(queries, k, v, extra, halves))
    return out


def _fuse(
    settings: ScaleFusion,
    size: Enlargement,
    draw: tuple,
    late: bool,
    warn: Callable,
    layer: tuple,
    attend: Callable,
    q,
    k,
    v,
    extra,
):
    """Scale Fusion of one layer's projected tokens; with the feature blur, [global, fused] stacked on the batch."""
    grid = tuple(extra["activations_shape"][-2:])
    if not q.shape[1] == k.shape[1] == grid[0] * grid[1]:
        warn(layer)
        return attend(q, k, v, grid)
    fine = prod(grid) * FINE >= prod(draw[-2:])
    strides = size.strides if settings.global_attention == "strided" or (settings.global_attention == "mixed" and fine) else None
    if settings.branches == GLOBAL_ONLY or (settings.draft and not (late and layer[0] == DRAFT_SECTION)):
        return global_attention(q, k, v, grid, attend, strides)
    plan = window_plan(*grid, size.ratio)
    views = jittered_views(plan, draw_key(*draw, *layer)) if settings.jitter else fixed_views(plan)
    if settings.branches == LOCAL_ONLY:
        return local_attention(q, k, v, plan, views, attend)
    overall, fused = scale_fusion(q, k, v, plan, views, size.factor, attend, strides)
    return torch.cat([overall, fused]) if settings.blur_features else fused


@torch.compiler.disable
def _fold(size: Enlargement, layers: frozenset, n, extra_options, **kwargs):
    """After to_out: fold a stacked [global, fused] batch of one of these layers back into one."""
    batch, _, h, w = extra_options["activations_shape"]
    ours = (*extra_options["block"], extra_options["block_index"]) in layers
    if not ours or tuple(n.shape[:2]) != (2 * batch, h * w):  # a layer left alone, perhaps in tiles of its own
        return n
    plain, fused = n.chunk(2)
    return fold_feature_blur(plain, fused, size.factor)


def draw_key(seed: int, sigma: float, h: int, w: int, section: str, block: int, index: int) -> int:
    """128 bits that name one layer's draw: never the batch or the order of calls, so cond and uncond agree."""
    text = f"{seed} {struct.pack('<f', sigma).hex()} {h}x{w} {section}.{block}.{index}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


class _Once:
    """Warns, once for a patched model, of tokens that are not the picture's grid: tiled, merged or temporal ones."""

    def __init__(self):
        self.done = False

    def __call__(self, layer: tuple[str, int, int]) -> None:
        if not self.done:
            section, block, _ = layer
            logging.warning(
                f"FreeScale Scale Fusion: attention in {section}.{block} (and perhaps elsewhere) gets tokens that are not the picture's "
                "grid, as HyperTile and ToMe make them. Such layers keep their own attention; remove the other node to have "
                "Scale Fusion everywhere."
            )
        self.done = True
