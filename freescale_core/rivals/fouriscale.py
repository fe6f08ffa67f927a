"""FouriScale (arXiv 2403.12963, a rival): dilated convolutions of inputs under a low-pass, strong, or weak where it guides."""

from dataclasses import dataclass
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from ..dilation import Level, convolve

LESS = 1.5  # SDXL's weak branch is dilated by 1/1.5 of the others' dilation


@dataclass(frozen=True)
class Reach:
    """What it changes in a U-Net: from its released layer lists."""

    filtered: tuple[Level, ...]  # levels whose convolutions are dilated, their upsamplers without the low-pass
    no_upsampler: tuple[Level, ...]  # of these levels the upsampler stays as it is
    lowest: float  # v: what the low-pass leaves of the highest frequencies
    milder: bool  # the weak branch is dilated less, too


REACH = {  # by the number of the U-Net's levels: SDXL's structure, SD 1.5's
    3: Reach((("down", 2), ("middle", 0), ("up", 0), ("up", 1)), (("up", 1),), 0.6, True),
    4: Reach((("down", 2), ("down", 3), ("middle", 0), ("up", 0), ("up", 1), ("up", 2)), (), 0.0, False),
}


def dilation_at(d: int, step: int, full_until: float, until: float) -> float:
    """d, then falling to 1: (d − 1)(stop − i)/(stop − start) + 1; the steps are of 50."""
    return float(d) if step < full_until else (d - 1) * (until - step) / (until - full_until) + 1


def low_pass_mask(size: tuple[int, int], q: float, weak: bool, lowest: float) -> Tensor:
    """What is kept of each frequency [F_h, F_w], in the order of torch.fft: an outer product of m(j) over both axes.

    m(j) = clip(1 + (1 − v)/R (n/q + 1 − j), v, 1) over the half length n = F//2, mirrored without a middle: the frequency
    −f shares j with f − 1. R is F//8 at least 1, of the weak mask (q − 1)F//(2q), whose R = 0 keeps everything.
    """
    return torch.outer(*(_kept(length, q, weak, lowest) for length in size))


def _kept(length: int, q: float, weak: bool, lowest: float) -> Tensor:
    taper = (q - 1) * length // (2 * q) if weak else max(length // 8, 1)
    if taper == 0:
        return torch.ones(length)
    places = torch.arange(length)
    j = torch.where(places < (length + 1) // 2, places, length - 1 - places)
    return (1 + (1 - lowest) / taper * (length // 2 / q + 1 - j)).clamp(lowest, 1)


def low_passed(x: Tensor, padded: tuple[int, int], q: float, weak: bool, lowest: float) -> Tensor:
    """x [B, C, h, w] under the mask, in float32; zeros to the right and below make it `padded`, and are cropped again."""
    h, w = x.shape[-2:]
    wide = F.pad(x.float(), (0, padded[1] - w, 0, padded[0] - h))
    mask = low_pass_mask(padded, q, weak, lowest).to(x.device)
    return torch.fft.ifft2(torch.fft.fft2(wide) * mask).real[..., :h, :w].to(x.dtype)


@dataclass(frozen=True)
class Guided:
    """One layer's convolution for one call of the model, whose rows from `strong_rows` on are the weak branch."""

    d: float
    strong_rows: int
    reach: Reach
    low_pass: bool
    multiple: tuple[float, float]  # the picture is padded to this many times its sides: whole multiples of the native picture

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], around: str = "zeros") -> Tensor:
        """The layer on x [B, C, h, w]."""
        branches = [(x[: self.strong_rows], False), (x[self.strong_rows :], True)]
        return torch.cat([self._branch(rows, weak, weight, bias, stride, around) for rows, weak in branches if len(rows)])

    def _branch(self, x: Tensor, weak: bool, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], around: str) -> Tensor:
        if self.low_pass:
            height, width = (max(n, round(n * times)) for n, times in zip(x.shape[-2:], self.multiple))
            x = low_passed(x, (height, width), max(self.d / stride[0], 1), weak, self.reach.lowest)
        d = max(self.d / LESS, 1) if weak and self.reach.milder else self.d
        return convolve(x, weight, bias, stride, ceil(d), around)
