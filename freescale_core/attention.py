"""Scale Fusion (P §3.3, Eq. 5–7): local detail from windows, global structure from all tokens, joined by frequency.

Tokens are [B, h·w, C] with the heads folded into C. `attend(q, k, v, (h, w)) -> [B, h·w, C]` is the host's attention over
all tokens of the grid it is given, heads included. Windows and sub-grids are stacked on the batch axis with
the samples outermost, so that a host which splits a batch into its samples still can.
"""

from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from .blur import blur_tokens
from .chunks import in_chunks
from .windows import WindowPlan

Attend = Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor]


def local_attention(q: Tensor, k: Tensor, v: Tensor, plan: WindowPlan, views: np.ndarray, attend: Attend) -> Tensor:
    """Attention inside each window, averaged where windows overlap (Eq. 5).

    `views` [n, 4] are (top, bottom, left, right) in the grid padded by `plan.jitter`, as `windows.jittered_views` gives
    them. Padding with zeros after the projection equals padding the input: the projections have no bias. A few windows
    at a time are stacked on the batch axis, fewer where memory is short.
    """
    q, k, v = (rearrange(x, "b (h w) c -> b h w c", h=plan.grid[0]) for x in (q, k, v))
    total, count = torch.zeros_like(v), v.new_zeros(1, *plan.grid, 1)

    def inside(chunk: list) -> Tensor:
        queries, keys, values = (_stack(x, chunk, plan.size) for x in (q, k, v))
        return attend(queries, keys, values, plan.size)

    windows = [_on_grid(view, plan) for view in views.tolist()]
    for chunk, out in in_chunks(windows, inside, plan.size, plan.grid):
        out = rearrange(out, "(b n) (h w) c -> n b h w c", n=len(chunk), h=plan.size[0])
        for (place, within), x in zip(chunk, out):
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

        def inside(chunk: list, size: tuple[int, int] = size) -> Tensor:
            stacked = (torch.stack([x[lattice] for lattice in chunk], 1) for x in (q, k, v))
            queries, keys, values = (rearrange(x, "b n h w c -> (b n) (h w) c") for x in stacked)
            return attend(queries, keys, values, size)

        for chunk, result in in_chunks(lattices, inside, size, grid):
            for lattice, x in zip(chunk, rearrange(result, "(b n) (h w) c -> n b h w c", n=len(chunk), h=size[0])):
                out[lattice] = x
    return rearrange(out, "b h w c -> b (h w) c")


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
    full global attention by strided sub-grids. The global branch is computed last, so that another pack that records the
    layer's last attention (as Self-Attention Guidance does) gets that of the whole picture.
    """
    local = local_attention(q, k, v, plan, views, attend)
    overall = global_attention(q, k, v, plan.grid, attend, strides)
    return overall, blur_tokens(local.sub_(overall), plan.grid, factor).add_(overall)
