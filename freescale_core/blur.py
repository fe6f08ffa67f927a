"""The Gaussian that joins the two branches of Scale Fusion (P Eq. 7), as band matrices."""

from functools import lru_cache
from math import ceil, exp

import torch
from einops import rearrange
from torch import Tensor

from .chunks import chunk_tokens


def blur_tokens(x: Tensor, grid: tuple[int, int], factor: int) -> Tensor:
    """Gaussian blur of tokens [B, h·w, C] over the grid, σ = 1, size 2·factor − 1, zeros beyond the edges (Eq. 7).

    It overwrites `x`: bands of columns, then of rows, do not need each other and take little memory.
    """
    vertical, horizontal = (kept_band(length, factor, x.device, x.dtype) for length in grid)
    picture, bands = rearrange(x, "b (h w) c -> b h w c", h=grid[0]), ceil(grid[0] * grid[1] / chunk_tokens(grid))
    for columns in picture.chunk(bands, dim=2):
        columns.copy_(torch.einsum("i h, b h w c -> b i w c", vertical, columns))
    for rows in picture.chunk(bands, dim=1):
        rows.copy_(horizontal @ rows)
    return x


def gaussian_band(length: int, factor: int, like: Tensor, deviation: float = 1.0) -> Tensor:
    """One axis of the blur as a band matrix [length, length]: much faster than a convolution of one channel."""
    places, spread = torch.arange(length, device=like.device, dtype=torch.float32), 2 * deviation**2
    offsets = places[:, None] - places
    kernel = torch.exp(-(offsets**2) / spread).masked_fill(offsets.abs() >= factor, 0)
    return (kernel / sum(exp(-(offset**2) / spread) for offset in range(1 - factor, factor))).to(like.dtype)


@lru_cache(8)  # every layer of a call needs the same few: two grids and two widths in SDXL, of 3 MB at most
def kept_band(length: int, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # a cached tensor must also work in autograd
        return gaussian_band(length, factor, torch.empty(0, device=device, dtype=dtype))


def fold_feature_blur(plain: Tensor, fused: Tensor, factor: int) -> Tensor:
    """Scale Fusion with the feature axis blurred too (C), from `to_out(global)` and `to_out(fused)` [B, n, C].

    The blur T over features acts on to_out's output; to_out is affine, so y0 + T(y1 − y0) is exact and its bias cancels.
    """
    return plain + (fused - plain) @ kept_band(plain.shape[-1], factor, plain.device, plain.dtype)
