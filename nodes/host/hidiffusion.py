"""HiDiffusion on a MODEL: smaller features in the first steps, and self-attention in windows, for the length of a model call."""

from functools import partial
from typing import cast

import torch.nn.functional as F
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...freescale_core.dilation import Layer, convolve
from ...freescale_core.hidiffusion import OP_DILATION, OP_STRIDE, pooled, shrinking, smoothed, windowed_attention
from .attention import draw_key, replaced_attention, with_patch
from .convolution import computed_as, patch_convolutions
from .model import attention_layers, convolution_levels, convolutions, latent_enlargement, remember_native_size, running_step

KEY = "freescale_rival_hidiffusion"


def with_hidiffusion(model: ModelPatcher, seed: int, native_size: int, node: str) -> ModelPatcher:
    """A clone of `model` with a resolution-aware U-Net and windowed attention; `seed` moves the windows."""
    patched = model.clone()
    remember_native_size(patched, native_size)
    (levels, count), strides = convolution_levels(model, node), convolutions(model)
    blocks = {level: sorted({Layer(name).index for name in names}) for level, names in levels.items()}
    attending = {index for section, index, _ in attention_layers(model) if section == "input"}
    # The finest level with attention: its blocks get windows, its downsampler the stride.
    finest = next(n for n in range(count) if attending & {*blocks["down", n]})
    windowed = {("input", n) for n in blocks["down", finest]} | {("output", n) for n in blocks["up", count - 1 - finest]}
    layers = [layer for layer in attention_layers(model) if layer[:2] in windowed]
    [op] = (name for name in levels["down", finest] if name.endswith(".op"))
    [up] = (name for name in levels["up", count - 2 - finest] if Layer(name).kind == "upsampler")  # back to where op left
    pool, back = blocks["down", 1][0], blocks["up", count - 2][-1]
    depth = len(cast(UNetModel, model.get_model_object("diffusion_model")).input_blocks)

    def around_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        base, options, sigma = executor.class_obj, transformer_options or {}, float(t.flatten()[0])
        size = latent_enlargement(base, native_size, *x.shape[-2:])
        if size is None:
            return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
        step, row = running_step(base, sigma), shrinking(count, size.factor)
        options = replaced_attention(options, layers, partial(_windowed, (seed, sigma, *x.shape[-2:])))
        strided, pools = step < row.op_until, step in row.pool
        if pools:
            options = with_patch(options, "input_block_patch", partial(_shrink, pool))
            # First, because the patches of others expect features of one size.
            options = with_patch(options, "output_block_patch", partial(_widen, back), first=True)
        control = _pooled_control(control, depth, Layer(op).index if strided else None, pool if pools else None)
        with computed_as({op: _wide_step, up: _smooth_step} if strided else {}):
            return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, around_model)
    patch_convolutions(patched, {name: strides[name] for name in (op, up)}, node)
    return patched


def _windowed(draw: tuple, layer: tuple, attend, q, k, v, extra):
    """One layer's attention in windows, moved by a quarter that the draw and the layer decide."""
    grid = tuple(extra["activations_shape"][-2:])
    if not q.shape[1] == k.shape[1] == grid[0] * grid[1]:  # tiled or merged by another node
        return attend(q, k, v, grid)
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
