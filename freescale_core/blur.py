"""Gaussians as band matrices: what joins the two branches of Scale Fusion (P Eq. 7), and the broad areas of a picture."""

from functools import lru_cache
from math import exp

import torch
from einops import rearrange
from torch import Tensor

BROAD = 16  # of the lowest band: narrower ones bring back what has moved since, such as grass; broader ones miss a sky


def blur_tokens(x: Tensor, grid: tuple[int, int], factor: int) -> Tensor:
    """Gaussian blur of tokens [B, h·w, C] over the grid, σ = 1, size 2·factor − 1, zeros beyond the edges (Eq. 7)."""
    vertical, horizontal = (kept_band(length, factor, x.device, x.dtype) for length in grid)
    x = vertical @ rearrange(x, "b (h w) c -> b h (w c)", h=grid[0])
    x = horizontal @ rearrange(x, "b h (w c) -> b h w c", w=grid[1])
    return rearrange(x, "b h w c -> b (h w) c")


def gaussian_band(length: int, factor: int, like: Tensor, deviation: float = 1.0) -> Tensor:
    """One axis of the blur as a band matrix [length, length]: much faster than a convolution of one channel."""
    places, spread = torch.arange(length, device=like.device, dtype=torch.float32), 2 * deviation**2
    offsets = places[:, None] - places
    kernel = torch.exp(-(offsets**2) / spread).masked_fill(offsets.abs() >= factor, 0)
    return (kernel / sum(exp(-(offset**2) / spread) for offset in range(1 - factor, factor))).to(like.dtype)


def lowest_band(x: Tensor) -> Tensor:
    """What a Gaussian of a sixteenth of the shorter side leaves of x [..., h, w]: broad areas without their outlines.

    Ours: the paper lets colours go with the reference. Beyond an edge there is nothing, which does not weigh in.
    """
    deviation = min(x.shape[-2:]) / BROAD
    vertical, horizontal = (kept_broad_band(length, deviation, x.device, x.dtype) for length in x.shape[-2:])
    return vertical @ x @ horizontal.T


@lru_cache(4)  # every step of a stage needs the same two
def kept_broad_band(length: int, deviation: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # as in kept_band
        band = gaussian_band(length, length, torch.empty(0, device=device, dtype=dtype), deviation)
        return band / band.sum(1, keepdim=True)


@lru_cache(8)  # every layer of a call needs the same few: two grids and two widths in SDXL, of 3 MB at most
def kept_band(length: int, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # a cached tensor must also work in autograd
        return gaussian_band(length, factor, torch.empty(0, device=device, dtype=dtype))


def fold_feature_blur(plain: Tensor, fused: Tensor, factor: int) -> Tensor:
    """Scale Fusion with the feature axis blurred too (C), from `to_out(global)` and `to_out(fused)` [B, n, C].

    The blur T over features acts on to_out's output; to_out is affine, so y0 + T(y1 − y0) is exact and its bias cancels.
    """
    return plain + (fused - plain) @ kept_band(plain.shape[-1], factor, plain.device, plain.dtype)
