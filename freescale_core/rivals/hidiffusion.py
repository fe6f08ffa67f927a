"""HiDiffusion (arXiv 2311.17528, a rival): a U-Net that shrinks large features early on, and self-attention in 2 × 2 windows."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..attention import Attend

OP_STRIDE, OP_DILATION = (4, 4), 2  # of the downsampler, instead of 2 and 1
LARGEST = 4  # from this enlargement on the row of the largest pictures


@dataclass(frozen=True)
class Shrinking:
    """When the features are smaller than usual, as ranges of 50 steps: the resolution-aware U-Net."""

    op_until: int  # the strided downsampler, from step 0
    pool: range  # the average pool after the second level's first block


SHRINKING = {  # number of the U-Net's levels (SDXL's structure, SD 1.5's) → from which enlargement on
    3: {2: Shrinking(8, range(8, 20)), LARGEST: Shrinking(15, range(35))},
    4: {2: Shrinking(20, range(0)), LARGEST: Shrinking(35, range(15))},
}


def shrinking(level_count: int, factor: int) -> Shrinking:
    """The row for an enlargement."""
    return SHRINKING[level_count][LARGEST if factor >= LARGEST else 2]


def pooled(x: Tensor, times: int = 1) -> Tensor:
    """x [B, C, h, w] averaged over 2 × 2, `times` times; an odd side is rounded up."""
    for _ in range(times):
        x = F.avg_pool2d(x, 2, ceil_mode=True)
    return x


def smoothed(x: Tensor) -> Tensor:
    """A picture that was repeated 4 × 4 on its way up, as if repeated 2 × 2 and then enlarged bicubically (C)."""
    return F.interpolate(x[..., ::2, ::2], x.shape[-2:], mode="bicubic")


def windowed_attention(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], quarters: int, attend: Attend) -> Tensor:
    """Attention of tokens [B, h·w, C] inside 2 × 2 windows of the grid, rolled by that many quarters of a window.

    Odd sides are stretched by one first. Projections have no bias and stretching keeps constants, so that stretching here
    equals stretching before and after the layer.
    """
    even = (grid[0] + grid[0] % 2, grid[1] + grid[1] % 2)
    size = (even[0] // 2, even[1] // 2)
    shift = tuple(n // 4 * quarters for n in size)

    def windows(x: Tensor) -> Tensor:
        x = torch.roll(_stretched(x, grid, even), [-n for n in shift], (2, 3))
        return rearrange(x, "b c (m h) (n w) -> (b m n) (h w) c", m=2, n=2)

    out = attend(windows(q), windows(k), windows(v), size)
    out = rearrange(out, "(b m n) (h w) c -> b c (m h) (n w)", m=2, n=2, h=size[0])
    out = torch.roll(out, shift, (2, 3))
    return rearrange(F.interpolate(out, grid, mode="bicubic") if even != grid else out, "b c h w -> b (h w) c")


def _stretched(x: Tensor, grid: tuple[int, int], even: tuple[int, int]) -> Tensor:
    """Tokens as a picture [B, C, h, w] with even sides."""
    x = rearrange(x, "b (h w) c -> b c h w", h=grid[0])
    return F.interpolate(x, even, mode="bicubic") if even != grid else x
