"""Scale Fusion (P §3.3, Eq. 5–7): local detail from windows, global structure from all tokens, joined by frequency.

Tokens are [B, h·w, C] with the heads folded into C. `attend(q, k, v, (h, w)) -> [B, h·w, C]` is the host's attention over
all tokens of the grid it is given; nothing here knows of heads. Windows and sub-grids are stacked on the batch axis with
the samples outermost, so that a host which splits a batch into its samples still can.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from math import ceil, exp

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from .geometry import WindowPlan

Attend = Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor]

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # in the words of MPS, CPU and newer devices

# One part of a picture is in work at a time, as a stack of windows or a band of the blur, beside q, k, v and the results.
# Parts of fewer tokens would save no memory that counts, and a GPU takes longer to launch their kernels than to run them.
PARTS, SMALLEST_PART = 4, 4096


def local_attention(q: Tensor, k: Tensor, v: Tensor, plan: WindowPlan, views: np.ndarray, attend: Attend) -> Tensor:
    """Attention inside each window, averaged where windows overlap (Eq. 5).

    `views` [n, 4] are (top, bottom, left, right) in the grid padded by `plan.jitter`, as `geometry.jittered_views` gives
    them. Padding with zeros after the projection equals padding the input: the projections have no bias. A few windows
    at a time are stacked on the batch axis, fewer where memory is short.
    """
    q, k, v = (rearrange(x, "b (h w) c -> b h w c", h=plan.grid[0]) for x in (q, k, v))
    total, count = torch.zeros_like(v), v.new_zeros(1, *plan.grid, 1)

    def inside(part: list) -> Tensor:
        queries, keys, values = (_stack(x, part, plan.size) for x in (q, k, v))
        return attend(queries, keys, values, plan.size)

    windows = [_on_grid(view, plan) for view in views.tolist()]
    for part, out in as_many_as_fit(windows, inside, plan.size, plan.grid):
        out = rearrange(out, "(b n) (h w) c -> n b h w c", n=len(part), h=plan.size[0])
        for (place, within), x in zip(part, out):
            total[place].add_(x[within])
            count[place].add_(1)
    return rearrange(total.div_(count), "b h w c -> b (h w) c")


Box = tuple[slice, ...]  # of [B, h, w, C]


def _on_grid(view: list[int], plan: WindowPlan) -> tuple[Box, Box]:
    """(the part of the grid that a view covers, the same part within the window); what is beyond the grid is zero."""
    places, withins = [slice(None)], [slice(None)]
    for start, end, pad, length in zip(view[::2], view[1::2], plan.jitter, plan.grid):
        low, high = max(start - pad, 0), min(end - pad, length)
        places.append(slice(low, high))
        withins.append(slice(low - start + pad, high - start + pad))
    return tuple(places), tuple(withins)


def _stack(x: Tensor, windows: list[tuple[Box, Box]], size: tuple[int, int]) -> Tensor:
    """Windows of tokens [B, h, w, C], the samples outermost: [B·n, h·w, C] of one size."""
    stacked = x.new_zeros(x.shape[0], len(windows), *size, x.shape[-1])
    for window, (place, within) in zip(stacked.unbind(1), windows):
        window[within] = x[place]
    return rearrange(stacked, "b n h w c -> (b n) (h w) c")


def global_attention(
    q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], attend: Attend, strides: tuple[int, int] | None = None
) -> Tensor:
    """Attention over all tokens, or over strided sub-grids of them."""
    return attend(q, k, v, grid) if strides is None else strided_attention(q, k, v, grid, strides, attend)


def strided_attention(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], strides: tuple[int, int], attend: Attend) -> Tensor:
    """The sub-grids [a::S_h, b::S_w], each attending to itself (C's fast mode); those of one shape share a call."""
    q, k, v = (rearrange(x, "b (h w) c -> b h w c", h=grid[0]) for x in (q, k, v))
    out = torch.empty_like(v)
    groups: dict[tuple[int, int], list[Box]] = {}
    for a in range(min(strides[0], grid[0])):
        for b in range(min(strides[1], grid[1])):
            lattice = (slice(None), slice(a, None, strides[0]), slice(b, None, strides[1]))
            h, w = q[lattice].shape[1:3]
            groups.setdefault((h, w), []).append(lattice)
    for size, lattices in groups.items():

        def inside(part: list, size: tuple[int, int] = size) -> Tensor:
            stacked = (torch.stack([x[lattice] for lattice in part], 1) for x in (q, k, v))
            queries, keys, values = (rearrange(x, "b n h w c -> (b n) (h w) c") for x in stacked)
            return attend(queries, keys, values, size)

        for part, result in as_many_as_fit(lattices, inside, size, grid):
            for lattice, x in zip(part, rearrange(result, "(b n) (h w) c -> n b h w c", n=len(part), h=size[0])):
                out[lattice] = x
    return rearrange(out, "b h w c -> b (h w) c")


def as_many_as_fit(
    items: list, compute: Callable[[list], Tensor], size: tuple[int, int], grid: tuple[int, int], parts: int | None = None
) -> Iterator:
    """(part, compute(part)) for all items of a `size`, a `parts`-th of the `grid` at once, by default what `part_tokens` says.

    Where memory runs out it goes on with half as many, down to one by one.
    """
    tokens = grid[0] * grid[1] / parts if parts else part_tokens(grid)
    start, at_once = 0, max(1, int(tokens / (size[0] * size[1])))
    while start < len(items):
        part, out = items[start : start + at_once], None
        try:
            out = compute(part)
        except RuntimeError as error:
            if len(part) == 1 or not is_out_of_memory(error):
                raise
        if out is None:  # out here, where the exception no longer keeps what it was computing alive
            at_once = len(part) // 2
            continue
        yield part, out
        start += len(part)


def part_tokens(grid: tuple[int, int]) -> float:
    """How many tokens of a grid are in work at a time: of its size alone, never of the memory that is free, nor are the bits."""
    return max(SMALLEST_PART, grid[0] * grid[1] / PARTS)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no memory left; only CUDA has a type of error for it."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)


def scale_fusion(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: WindowPlan,
    views: np.ndarray,
    factor: int,
    attend: Attend,
    strides: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """(global, fused) attention of tokens [B, h·w, C] projected once; fused = global + G(local − global) (Eq. 6–7).

    One blur G over the token grid serves both frequency bands, and `to_out` may run after it. `strides` replaces the
    full global attention by strided sub-grids. The global branch is computed last, so that a neighbour which listens
    in on the attention ends up with the whole picture.
    """
    local = local_attention(q, k, v, plan, views, attend)
    overall = global_attention(q, k, v, plan.grid, attend, strides)
    return overall, blur_tokens(local.sub_(overall), plan.grid, factor).add_(overall)


def fold_feature_blur(plain: Tensor, fused: Tensor, factor: int) -> Tensor:
    """Scale Fusion with the feature axis blurred too (C), from `to_out(global)` and `to_out(fused)` [B, n, C].

    The blur T over features acts on to_out's output; to_out is affine, so y0 + T(y1 − y0) is exact and its bias cancels.
    """
    return plain + (fused - plain) @ _kept_band(plain.shape[-1], factor, plain.device, plain.dtype)


def blur_tokens(x: Tensor, grid: tuple[int, int], factor: int) -> Tensor:
    """Gaussian blur of tokens [B, h·w, C] over the grid, σ = 1, size 2·factor − 1, zeros beyond the edges (Eq. 7).

    It overwrites `x`: bands of columns, then of rows, do not need each other and take little memory.
    """
    vertical, horizontal = (_kept_band(length, factor, x.device, x.dtype) for length in grid)
    picture, bands = rearrange(x, "b (h w) c -> b h w c", h=grid[0]), ceil(grid[0] * grid[1] / part_tokens(grid))
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
def _kept_band(length: int, factor: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # usable with gradients, too, whoever asks first
        return gaussian_band(length, factor, torch.empty(0, device=device, dtype=dtype))
