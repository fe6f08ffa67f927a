"""Scale Fusion (P §3.3, Eq. 5–7): local detail from windows, global structure from all tokens, joined by frequency.

Tokens are [B, h·w, C] with the heads folded into C. `attend(q, k, v, (h, w)) -> [B, h·w, C]` is the host's attention over
all tokens of the grid it is given, heads included. Windows and sub-grids are stacked on the batch axis with
the samples outermost, so that a host which splits a batch into its samples still can.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .blur import blur_tokens
from .chunks import chunk_tokens, in_chunks, stack_tokens
from .windows import WindowPlan

Attend = Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor]


def local_attention(q: Tensor, k: Tensor, v: Tensor, plan: WindowPlan, views: np.ndarray, attend: Attend) -> Tensor:
    """Attention inside each window, averaged where windows overlap (Eq. 5).

    `views` [n, 4] are (top, bottom, left, right) in the grid padded by `plan.jitter`, as `windows.jittered_views` gives
    them. Padding with zeros after the projection equals padding the input: the projections have no bias; queries beyond the
    grid may be anything, as nobody reads their answers. Stacks of windows are gathered by one index and attended at once, in a
    number of operations that does not grow with that of windows; fewer at a time where memory is short.
    """
    (h, w), (pad_h, pad_w) = plan.grid, plan.jitter
    height, width = h + 2 * pad_h, w + 2 * pad_w
    window, token, beyond = kept_cells(plan, q.device)
    corners = torch.from_numpy(views[:, 0] * width + views[:, 2]).to(q.device, non_blocking=True)
    cells = corners[:, None] + window  # [n, window]
    tokens, beyond = token[cells], beyond[cells]
    total = v.new_zeros(len(v), height * width, v.shape[-1])

    def inside(stack: range) -> Tensor:
        chosen = slice(stack.start, stack.stop)
        queries, keys, values = (x.index_select(1, tokens[chosen].flatten()) for x in (q, k, v))
        for x in (keys, values):
            x.masked_fill_(beyond[chosen].view(-1, 1), 0)
        queries, keys, values = (rearrange(x, "b (n t) c -> (b n) t c", n=len(stack)) for x in (queries, keys, values))
        return attend(queries, keys, values, plan.size)

    for stack, out in in_chunks(range(plan.count), inside, plan.size, stack_tokens(plan.grid)):
        add_rows(total, cells[stack.start : stack.stop], rearrange(out, "(b n) t c -> b n t c", n=len(stack)))
        del out  # before the next stack is attended
    count = v.new_zeros(len(token)).index_add_(0, cells.flatten(), v.new_ones(1).expand(cells.numel()))  # exact in any order
    total, count = rearrange(total, "b (h w) c -> b h w c", h=height), rearrange(count, "(h w) -> h w 1", h=height)
    rows, columns = slice(pad_h, pad_h + h), slice(pad_w, pad_w + w)
    return rearrange(total[:, rows, columns] / count[rows, columns], "b h w c -> b (h w) c")


def block_attention(q: Tensor, k: Tensor, v: Tensor, plan: WindowPlan, shift: tuple[int, int], attend: Attend) -> Tensor:
    """Windows that are not averaged: queries in blocks of half a window, keys of the whole window around each block (ours).

    The blocks' grid begins `shift` tokens, modulo a block, before the picture. Every query is in one block, so that there are
    0.4 of the products of Eq. 5's windows at 4×, 0.3 at 8×. Windows stop at the picture's edges, so that no key is made up.
    """
    (h, w), size, block = plan.grid, plan.size, plan.block
    rows, columns = (np.arange(-(by % n), length, n) for by, n, length in zip(shift, block, plan.grid))
    corners = (rows[:, None] + block[0]) * (w + 2 * block[1]) + columns + block[1]
    above, beside = (
        np.clip(starts - (window - n) // 2, 0, length - window)
        for starts, window, n, length in zip((rows, columns), size, block, plan.grid)
    )
    at = torch.from_numpy(np.stack([corners.flatten(), (above[:, None] * w + beside).flatten()])).to(q.device, non_blocking=True)
    block_cells, window, token = kept_blocks(plan, q.device)
    places, keys = token[at[0, :, None] + block_cells], at[1, :, None] + window
    queries = places.clamp(max=h * w - 1)  # beyond the grid any will do: nobody reads their answers
    out = v.new_empty(len(v), h * w + 1, v.shape[-1])

    for stack, result in attended(q, k, v, queries, keys, size, attend, stack_tokens(plan.grid)):
        put_rows(out, places[stack.start : stack.stop].flatten(), result)
    return out[:, :-1]


@lru_cache(8)  # every layer of a call needs the same few, at most 3 MB each for 8192² of SDXL
def kept_cells(plan: WindowPlan, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of the cells of the padded grid: those of a window at the corner, each one's token (or any), and which are no token's."""
    with torch.inference_mode(False):  # as in blur.kept_band
        window, token = _cells(plan.grid, plan.jitter, plan.size)
        return window.to(device), token.clamp(min=0).to(device), (token < 0).to(device)


@lru_cache(8)  # as kept_cells
def kept_blocks(plan: WindowPlan, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of a grid with a block around it: the cells of a block at the corner, each one's token, one more where there is none.

    Between them the tokens of a window at the picture's corner.
    """
    with torch.inference_mode(False):
        window, _ = _cells(plan.grid, (0, 0), plan.size)
        block, token = _cells(plan.grid, plan.block, plan.block)
        return block.to(device), window.to(device), token.where(token >= 0, prod(plan.grid)).to(device)


def _cells(grid: tuple[int, int], pad: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Of a padded grid's cells: those of a box at the corner, and each one's token, −1 where there is none."""
    token = F.pad(torch.arange(grid[0] * grid[1]).view(grid), (pad[1], pad[1], pad[0], pad[0]), value=-1)
    return torch.arange(token.numel()).view_as(token)[: size[0], : size[1]].flatten(), token.flatten()


def add_rows(total: Tensor, places: Tensor, rows: Tensor) -> None:
    """total[:, places[i]] += rows[:, i] for windows i in their order, which makes the same bits in every run.

    `total` is [B, m, C], `places` [n, t], no two of a window alike, `rows` [B, n, t, C]. On CUDA index_add_ adds atomically, in
    any order; the other form sorts the places first. It takes them in the outermost dimension, or it would copy the total;
    `unsafe` is to believe that they exist, for which older PyTorch would wait. What other devices do is not known.
    """
    if total.is_cuda:
        batch, m, _ = total.shape
        places = (torch.arange(0, batch * m, m, device=total.device)[:, None] + places.flatten()).flatten()
        torch.ops.aten._index_put_impl_(total.view(batch * m, -1), [places], rows.flatten(0, 2), accumulate=True, unsafe=True)
    elif total.device.type in ("cpu", "meta"):
        total.index_add_(1, places.flatten(), rows.flatten(1, 2))
    else:
        for place, row in zip(places, rows.unbind(1)):
            total[:, place] += row


def attended(
    q: Tensor, k: Tensor, v: Tensor, queries: Tensor, keys: Tensor, size: tuple[int, int], attend: Attend, most: float
) -> Iterator[tuple[range, Tensor]]:
    """(which of the n, answers [B, their queries, C]) of tokens `queries` [n, t] that attend to tokens `keys` [n, h·w].

    At `most` so many tokens are attended to at once.
    """

    def inside(stack: range) -> Tensor:
        chosen, n = slice(stack.start, stack.stop), len(stack)
        own, seen = queries[chosen].flatten(), keys[chosen].flatten()
        x, y, z = (rearrange(x.index_select(1, at), "b (n t) c -> (b n) t c", n=n) for x, at in ((q, own), (k, seen), (v, seen)))
        return rearrange(attend(x, y, z, size), "(b n) t c -> b (n t) c", n=n)

    return in_chunks(range(len(keys)), inside, size, most)


def put_rows(out: Tensor, places: Tensor, rows: Tensor) -> None:
    """out[:, places] = rows; where nobody reads them, places may be alike. MPS has index_copy_ since PyTorch 2.8, and slow."""
    if out.device.type in ("cpu", "cuda", "meta"):
        out.index_copy_(1, places, rows)
    else:
        out[:, places] = rows


def global_attention(
    q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], attend: Attend, strides: tuple[int, int] | None = None
) -> Tensor:
    """Attention over all tokens, or over strided sub-grids of them."""
    return attend(q, k, v, grid) if strides is None else strided_attention(q, k, v, grid, strides, attend)


def strided_attention(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], strides: tuple[int, int], attend: Attend) -> Tensor:
    """The sub-grids [a::S_h, b::S_w], each attending to itself (C's fast mode); those of one shape share a call."""
    out = torch.empty_like(v)
    for size, corners, lattice in kept_lattices(grid, strides, q.device):
        tokens = corners[:, None] + lattice  # [n, h·w of a sub-grid]
        for stack, result in attended(q, k, v, tokens, tokens, size, attend, chunk_tokens(grid)):
            put_rows(out, tokens[stack.start : stack.stop].flatten(), result)
    return out


@lru_cache(8)  # as kept_cells
def kept_lattices(
    grid: tuple[int, int], strides: tuple[int, int], device: torch.device
) -> list[tuple[tuple[int, int], Tensor, Tensor]]:
    """Of the sub-grids of each shape: it, the token at each one's corner, and the tokens of one from its corner on."""
    (h, w), (step_h, step_w) = grid, strides

    def alike(length: int, step: int) -> Iterator[tuple[int, Tensor]]:
        """How long, and where those begin that are: at most two lengths."""
        lengths = groupby(range(min(step, length)), lambda start: len(range(start, length, step)))
        return ((n, torch.tensor(list(starts))) for n, starts in lengths)

    def tokens(down: Tensor, right: Tensor) -> Tensor:
        return (down[:, None] * w + right).flatten().to(device)

    with torch.inference_mode(False):
        return [
            ((rows, columns), tokens(tops, lefts), tokens(step_h * torch.arange(rows), step_w * torch.arange(columns)))
            for rows, tops in alike(h, step_h)
            for columns, lefts in alike(w, step_w)
        ]


def scale_fusion(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: tuple[int, int],
    local: Callable[..., Tensor],
    factor: int,
    attend: Attend,
    strides: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """(global, fused) attention of tokens [B, h·w, C] projected once; fused = global + G(local − global) (Eq. 6–7).

    `local(q, k, v, attend=attend)` is `local_attention` or `block_attention` of some windows. One blur G over the token grid
    serves both frequency bands, and `to_out` may run after it. `strides` replaces the full global attention by strided
    sub-grids. The global branch is computed last, so that another pack that records the layer's last attention (as
    Self-Attention Guidance does) gets that of the whole picture.
    """
    detail = local(q, k, v, attend=attend)
    overall = global_attention(q, k, v, grid, attend, strides)
    return overall, blur_tokens(detail.sub_(overall), grid, factor).add_(overall)
