"""HiDiffusion on a MODEL: smaller features in the first steps, and self-attention in windows, for the length of a model call."""

from functools import partial

import torch.nn.functional as F
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....freescale_core.attention import Attend
from ....freescale_core.dilation import convolve
from ....freescale_core.rivals.hidiffusion import OP_DILATION, OP_STRIDE, pooled, shrinking, smoothed, windowed_attention
from ....freescale_core.windows import draw_key
from ..family import AttentionLayer, Grid, unet_of
from ..seam.attention import replaced_attention, with_patch
from ..seam.calls import Call, on_enlarged
from ..seam.convolution import computed_as
from .levels import unet_levels

KEY = "freescale_rival_hidiffusion"


def with_hidiffusion(model: ModelPatcher, seed: int, native_size: int, node: str) -> ModelPatcher:
    """A clone of `model` with a resolution-aware U-Net and windowed attention; `seed` moves the windows."""
    family = unet_of(model, node)
    (levels, count), every_layer = unet_levels(family, node), family.attention_layers()
    blocks = {level: sorted({layer.block for layer in layers}) for level, layers in levels.items()}
    attending = {block for section, block, _ in every_layer if section == "input"}
    # The finest level with attention: its blocks get windows, its downsampler the stride.
    finest = next(n for n in range(count) if attending & {*blocks["down", n]})
    windowed = {("input", n) for n in blocks["down", finest]} | {("output", n) for n in blocks["up", count - 1 - finest]}
    layers = [layer for layer in every_layer if layer[:2] in windowed]
    [op] = (layer for layer in levels["down", finest] if layer.kind == "downsampler")
    [up] = (layer for layer in levels["up", count - 2 - finest] if layer.kind == "upsampler")  # back to where op left
    pool, back = blocks["down", 1][0], blocks["up", count - 2][-1]
    depth = 1 + blocks["down", count - 1][-1]  # of input blocks

    def shrink(call: Call) -> Tensor:
        step, row = call.family.noise.step(call.sigma), shrinking(count, call.enlarged.factor)
        h, w = call.x.shape[-2:]
        compute = partial(_windowed, (seed, call.sigma, h, w))
        options = replaced_attention(call.options, call.family, layers, compute)
        strided, pools = step < row.op_until, step in row.pool
        if pools:
            options = with_patch(options, "input_block_patch", partial(_shrink, pool))
            # First, because the patches of others expect features of one size.
            options = with_patch(options, "output_block_patch", partial(_widen, back), first=True)
        control = _pooled_control(call.control, depth, op.block if strided else None, pool if pools else None)
        with computed_as(call.family, {op: _wide_step, up: _smooth_step} if strided else {}, node):
            return call.run(control=control, options=options)

    patched = model.clone()
    on_enlarged(patched, family, KEY, shrink, native_size)
    return patched


def _windowed(
    draw: tuple[int, float, int, int],  # seed, σ, h, w of the latent
    layer: AttentionLayer,
    attend: Attend,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: Grid,
) -> Tensor:
    """One layer's attention in windows, moved by a quarter that the draw and the layer decide."""
    return windowed_attention(q, k, v, grid, draw_key(*draw, *layer) % 4, attend)


def _wide_step(x, weight, bias, stride, around="zeros"):
    return convolve(x, weight, bias, OP_STRIDE, OP_DILATION, around)


def _smooth_step(x, weight, bias, stride, around="zeros"):
    return convolve(smoothed(x), weight, bias, stride, 1, around)


def _shrink(block: int, h, extra_options, **kwargs):
    return pooled(h) if extra_options["block"] == ("input", block) else h


def _widen(block: int, h, skip, extra_options, **kwargs):
    """Back to the size of what the block before the pool left for this one."""
    if extra_options["block"] == ("output", block):
        h = F.interpolate(h, skip.shape[-2:], mode="bicubic")
    return h, skip


def _pooled_control(control: dict | None, depth: int, op: int | None, pool: int | None) -> dict | None:
    """A ControlNet's answers, shrunk as the features are that they are added to; else ComfyUI would drop them.

    `op` and `pool` are the input blocks from which on features are smaller, None where they are not. ComfyUI takes each
    list from its end: "input" for the first input block, "output" for what the last input block left, "middle" after it.
    """

    def fitting(name: str, answer, from_end: int):
        block = {"input": from_end, "output": depth - 1 - from_end}.get(name, depth)
        pools = pool is not None and (block > pool if name == "input" else block >= pool)  # "input" joins before the pool
        return answer if answer is None else pooled(answer, pools + (op is not None and block >= op))

    return control and {
        name: [fitting(name, answer, len(answers) - 1 - i) for i, answer in enumerate(answers)]
        for name, answers in control.items()
    }
