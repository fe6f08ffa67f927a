"""Convolutions that are computed otherwise for the length of a call: restrained dilation, and the rivals'.

Weights come from the call of the layer itself, so LoRA and weight streaming stay right.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from comfy.model_patcher import ModelPatcher

from ....freescale_core.dilation import Layer
from ..family import Family
from .calls import replaced

Convolve = Callable[..., torch.Tensor]  # (x, weight, bias, stride, around=padding_mode) → the layer's output


@contextmanager
def computed_as(family: Family, convolves: Mapping[Layer, Convolve]) -> Iterator[None]:
    """Within it these convolutions of the running model are computed so, whatever was put in their place before."""
    modules = family.convolutions()
    with ExitStack() as stack:
        for layer, convolve in convolves.items():
            module = modules[layer]
            stack.enter_context(replaced(module, "_conv_forward", _conv_forward(module, convolve)))
        yield


def _conv_forward(module: torch.nn.Conv2d, convolve: Convolve):
    stride, around = (module.stride[0], module.stride[1]), module.padding_mode  # circular in packs for seamless tiles

    @torch.compiler.disable  # a compiled graph would keep the dilation that it was traced with
    def conv_forward(input, weight, bias, **kwargs):
        return convolve(input, weight, bias, stride, around=around)

    return conv_forward


def warn_of_others(patched: ModelPatcher, layers: Iterable[Layer], node: str) -> None:
    """Say, in the name of `node`, which of these convolutions another node has changed in a MODEL."""
    for layer in layers:
        if f"diffusion_model.{layer.name}._conv_forward" in patched.object_patches:
            logging.warning(f"{node}: another node changes {layer.name}; that has no effect while the layer is dilated.")
