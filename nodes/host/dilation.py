"""Restrained dilation on a MODEL (P §3.2): its deepest convolutions, while a call is enlarged and σ is high."""

from collections.abc import Iterable
from functools import partial

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...freescale_core.dilation import Layer, dilated_conv2d
from .family import family_of
from .seam.calls import Call, on_enlarged
from .seam.convolution import Convolve, computed_as

KEY = "freescale_restrained_dilation"


def with_restrained_dilation(
    model: ModelPatcher, layers: Iterable[Layer], factor: float, end_percent: float, native_size: int, node: str
) -> ModelPatcher:
    """A clone of `model` whose convolutions `layers` are dilated while σ is above that of `end_percent`.

    `factor` 0 takes the running picture's; nothing is dilated at the native size or below.
    """
    layers = tuple(layers)

    def dilate(call: Call) -> Tensor:
        if call.sigma < call.family.noise.sigma(end_percent):
            return call.run()
        with computed_as(call.family, dict.fromkeys(layers, dilated(factor or call.enlarged.factor)), node):
            return call.run()

    patched = model.clone()
    on_enlarged(patched, family_of(model, node), KEY, dilate, native_size)
    return patched


def dilated(factor: float) -> Convolve:
    """A convolution with that dilation."""
    return partial(dilated_conv2d, factor=factor)
