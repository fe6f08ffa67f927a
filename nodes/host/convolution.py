"""Restrained dilation on a MODEL.

Each chosen convolution gets an object patch, which ComfyUI removes when it unloads the clone; it reads its dilation
from a context variable that a wrapper sets for the length of one model call. Without a value it is the convolution
that was there before. Weights come from the call, so LoRA and weight streaming stay right.
"""

import logging
from contextvars import ContextVar

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...freescale_core.dilation import dilated_conv2d
from .model import latent_enlargement, percent_range, remember_native_size

KEY = "freescale_restrained_dilation"
NODE = "FreeScale Restrained Dilation"

_factors: ContextVar[dict[str, float]] = ContextVar("freescale_dilation_factors")


def with_restrained_dilation(
    model: ModelPatcher, strides: dict[str, tuple[int, int]], factor: float, end_percent: float, native_size: int
) -> ModelPatcher:
    """A clone of `model` whose convolutions (name → stride) are dilated while σ is above that of `end_percent`.

    `factor` 0 takes the running picture's enlargement; nothing is dilated at the native size or below.
    """
    patched = model.clone()
    remember_native_size(patched, native_size)

    def around_model(executor, x, t, *args, **kwargs):
        base = executor.class_obj
        size = latent_enlargement(base, native_size, *x.shape[-2:])
        _, lowest = percent_range(base, 0.0, end_percent)
        if size is None or float(t.flatten()[0]) < lowest:
            return executor(x, t, *args, **kwargs)
        token = _factors.set({**_factors.get({}), **dict.fromkeys(strides, factor or size.factor)})
        try:
            return executor(x, t, *args, **kwargs)
        finally:
            _factors.reset(token)

    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, around_model)
    for name, stride in strides.items():
        path = f"diffusion_model.{name}._conv_forward"
        before = model.get_model_object(path)
        if before.__module__ not in (__name__, torch.nn.Conv2d.__module__):
            logging.warning(f"{NODE}: another node changes {name}; that change rests while the layer is dilated.")
        patched.add_object_patch(path, _conv_forward(name, stride, before))
    return patched


def _conv_forward(name: str, stride: tuple[int, int], before):
    @torch.compiler.disable  # a compiled graph would keep the dilation that it was traced with
    def conv_forward(input, weight, bias, **kwargs):
        factor = _factors.get({}).get(name)
        if factor is None:
            return before(input, weight, bias, **kwargs)
        around = getattr(getattr(before, "__self__", None), "padding_mode", "zeros")  # circular in packs for seamless tiles
        return dilated_conv2d(input, weight, bias, stride, factor, around)

    return conv_forward
