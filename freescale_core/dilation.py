"""Restrained dilated convolution (P §3.2) and the tables of which convolutions it reaches."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil

import torch.nn.functional as F
from torch import Tensor

from .grammar.blocks import Selection

PRESETS = ("FreeScale", "FreeScale + up blocks", "ScaleCrafter", "custom")


def dilated_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], factor: float, around: str = "zeros"
) -> Tensor:
    """A 3×3 convolution with dilation and padding `factor`; x [B, C, h, w]; `around` it a Conv2d's padding_mode.

    A fractional factor p is ScaleCrafter's: resize by ceil(p)/p, dilate by ceil(p), resize back.
    """
    d = ceil(factor)
    if d == factor:
        return convolve(x, weight, bias, stride, d, around)
    size = [(n - 1) // s + 1 for n, s in zip(x.shape[-2:], stride)]
    wide = F.interpolate(x, [round(n * d / factor) for n in x.shape[-2:]], mode="bilinear")
    return F.interpolate(convolve(wide, weight, bias, stride, d, around), size, mode="bilinear")


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], d: int, around: str) -> Tensor:
    """A 3×3 convolution with dilation and padding d."""
    if around == "zeros":
        return F.conv2d(x, weight, bias, stride, padding=d, dilation=d)
    return F.conv2d(F.pad(x, (d, d, d, d), mode=around), weight, bias, stride, dilation=d)


@dataclass(frozen=True)
class Layer:
    """A 3×3 convolution's place in a U-Net."""

    name: str = field(compare=False)  # the host's, for people
    section: str  # input, middle or output
    block: int  # within the section
    kind: str  # residual, downsampler or upsampler
    number: int = 0  # among the block's of that kind

    @property
    def resamples(self) -> bool:
        """Whether it changes the picture's size."""
        return self.kind != "residual"


def dilated_layers(convolutions: Iterable[Layer], preset: str, selection: Selection) -> list[Layer]:
    """The convolutions that a preset dilates, out of those of a U-Net.

    The deepest level is found by walking, so other families (SD 1.5, SSD-1B, KOALA) need no table.
    """
    layers = list(convolutions)
    if preset == "custom":
        return [layer for layer in layers if selection.contains(layer.section, layer.block)]
    deepest = max((layer.block for layer in layers if layer.kind == "downsampler"), default=0)
    first_up = min((layer.block for layer in layers if layer.kind == "upsampler"), default=-1)
    down = [layer for layer in layers if layer.section == "input" and layer.block >= deepest]
    middle = [layer for layer in layers if layer.section == "middle"]
    up = [layer for layer in layers if layer.section == "output" and layer.block <= first_up]
    up_blocks = [layer for layer in up if layer.kind == "residual"]
    return {"FreeScale": down + middle, "FreeScale + up blocks": down + middle + up_blocks, "ScaleCrafter": middle + up}[preset]


Level = tuple[str, int]  # ("down", 0) is the finest, ("up", 0) the deepest, as diffusers numbers its blocks; ("middle", 0)


def levels(convolutions: Iterable[Layer]) -> dict[Level, list[Layer]]:
    """The convolutions of each level; its down- or upsampler, which ends it, is one of them."""
    layers = list(convolutions)
    found: dict[Level, list[Layer]] = {}
    for layer in layers:
        before = sum(other.block < layer.block for other in layers if other.section == layer.section and other.resamples)
        section = {"input": "down", "output": "up"}.get(layer.section, layer.section)
        found.setdefault((section, before), []).append(layer)
    return found
