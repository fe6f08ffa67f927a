"""Convolutions on a MODEL that are computed otherwise for the length of a model call: restrained dilation, and the rivals'.

Each chosen convolution gets an object patch, which ComfyUI removes when it unloads the clone; it reads how to be
computed from a context variable that a wrapper sets for the length of one model call. Without a value it is the
convolution that was there before. Weights come from the call, so LoRA and weight streaming stay right.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...freescale_core.dilation import dilated_conv2d
from .model import latent_enlargement, percent_range, remember_native_size

KEY = "freescale_restrained_dilation"
NODE = "FreeScale Restrained Dilation"

Convolve = Callable[..., torch.Tensor]  # (x, weight, bias, stride, around=padding_mode) → the layer's output

_convolves: ContextVar[dict[str, Convolve]] = ContextVar("freescale_convolves")


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
        with computed_as(dict.fromkeys(strides, dilated(factor or size.factor))):
            return executor(x, t, *args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, around_model)
    patch_convolutions(patched, strides, NODE)
    return patched


def dilated(factor: float) -> Convolve:
    """A convolution with that dilation."""
    return partial(dilated_conv2d, factor=factor)


@contextmanager
def computed_as(convolves: dict[str, Convolve]) -> Iterator[None]:
    """Within it, patched convolutions of these names are computed so."""
    token = _convolves.set({**_convolves.get({}), **convolves})
    try:
        yield
    finally:
        _convolves.reset(token)


def patch_convolutions(patched: ModelPatcher, strides: dict[str, tuple[int, int]], node: str) -> None:
    """Let `computed_as` reach the convolutions (name → stride) of a clone; a change that is there already is said by `node`."""
    for name, stride in strides.items():
        path = f"diffusion_model.{name}._conv_forward"
        before = patched.get_model_object(path)
        if before.__module__ not in (__name__, torch.nn.Conv2d.__module__):
            logging.warning(f"{node}: another node changes {name}; that change rests while the layer is dilated.")
        patched.add_object_patch(path, _conv_forward(name, stride, before))


def _conv_forward(name: str, stride: tuple[int, int], before):
    @torch.compiler.disable  # a compiled graph would keep the dilation that it was traced with
    def conv_forward(input, weight, bias, **kwargs):
        convolve = _convolves.get({}).get(name)
        if convolve is None:
            return before(input, weight, bias, **kwargs)
        around = getattr(getattr(before, "__self__", None), "padding_mode", "zeros")  # circular in packs for seamless tiles
        return convolve(input, weight, bias, stride, around=around)

    return conv_forward
