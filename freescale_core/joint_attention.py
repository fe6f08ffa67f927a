"""Scale Fusion of transformers, whose attention joins text and picture (docs/transformers.md).

Tokens are [B, heads, n, D], placed (turned by their positions) already. `attend(q, k, v, mask) -> [B, heads, n, D]` is the
host's attention. Windows run at the model's native size, so nothing is extrapolated: text is turned to where a window's own
text would be.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from math import log, pi, sqrt

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from .attention import add_rows
from .blur import blur_tokens
from .chunks import chunk_tokens, in_chunks, in_halves
from .rotary import Grid, Rotary, RotaryAcrossHeads, turned

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
LEAST_WEIGHT = 1e-3  # of a window's outermost tokens


@dataclass(frozen=True)
class Sequence:
    """The order of a joint attention's tokens: text, frames × h × w of the picture, then what pads it."""

    text: int
    grid: Grid
    frames: int = 1
    padding: int = 0

    @property
    def picture(self) -> slice:
        """Where the picture is."""
        return slice(self.text, self.text + self.frames * self.grid[0] * self.grid[1])

    @property
    def length(self) -> int:
        """All tokens."""
        return self.picture.stop + self.padding

    def other(self, padding: int | None = None) -> Tensor:
        """Indices of what is not the picture; with a number, its padding that many times (all of it is alike)."""
        after = torch.arange(self.padding) if padding is None else torch.zeros(padding if self.padding else 0, dtype=torch.long)
        return torch.cat([torch.arange(self.text), self.picture.stop + after])

    def tokens(self, rows: slice, columns: slice) -> Tensor:
        """Indices of a box of the picture, in every frame."""
        return self._numbers[:, rows, columns].flatten()

    def boxes(self, corners: list[Grid], size: Grid) -> Tensor:
        """Indices [w, n] of the boxes of one size at (y, x) corners."""
        starts = torch.tensor([y * self.grid[1] + x for y, x in corners])
        return starts[:, None] + self.tokens(slice(size[0]), slice(size[1]))

    @cached_property
    def _numbers(self) -> Tensor:
        return torch.arange(self.picture.start, self.picture.stop).view(self.frames, *self.grid)


@dataclass(frozen=True)
class Tokens:
    """A joint attention's own q, k, v, and the mask of its keys [B, 1, 1, n], if it has one."""

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    sequence: Sequence
    rotary: Rotary | RotaryAcrossHeads
    native: Grid  # tokens of a native picture of this aspect
    native_padding: int
    attend: Attend

    def gathered(self, queries: Tensor, keys: Tensor, turns: Tensor, turn_queries: bool = False) -> Tensor:
        """Attention [B, heads, w, q, D] of indices [w, q] to [w, k], of whose keys the first few are turned by [w, 1, D/2]."""
        windows, others = len(keys), self.others
        queries, keys = queries.to(self.k.device), keys.to(self.k.device)
        q, k, v = (x[:, :, index] for x, index in ((self.q, queries), (self.k, keys), (self.v, keys)))
        k[..., :others, :] = self.turned(k[..., :others, :], turns)
        q = self.turned(q, turns) if turn_queries else q
        mask = None if self.mask is None else rearrange(self.mask[..., keys], "b o p w k -> (b w) o p k")
        q, k, v = (rearrange(x, "b h w n d -> (b w) h n d") for x in (q, k, v))
        attend = self.attend if windows > 1 else self.in_halves  # fewer windows at a time come first
        return rearrange(attend(q, k, v, mask), "(b w) h n d -> b h w n d", w=windows)

    def turned(self, x: Tensor, turns: Tensor) -> Tensor:
        """Queries or keys at other places."""
        return turned(x, turns, self.rotary.split)

    def in_halves(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """`attend`, with fewer queries at a time where memory runs out."""
        return in_halves(lambda queries: self.attend(queries, k, v, mask), q, dim=-2)

    @property
    def others(self) -> int:
        """How many tokens beside the picture's a window has as keys."""
        return len(self.sequence.other(self.native_padding))


def block_attention(tokens: Tokens, shift: Grid) -> Tensor:
    """Windows alone: queries in blocks of half a native window, keys of the window around each block.

    The blocks' grid begins `shift` tokens before the picture. No query is in two blocks, so nothing is averaged, but text: it
    sees the windows of every second block, which lie side by side.
    """
    sequence, size = tokens.sequence, tokens.native
    rows, columns = (_blocks(length, window, start) for length, window, start in zip(sequence.grid, size, shift))
    out = torch.empty_like(tokens.q)
    groups: dict[Grid, list[Window]] = {}
    for row, column in product(rows, columns):
        groups.setdefault((row.stop - row.start, column.stop - column.start), []).append((row, column))
    for group in groups.values():
        for chunk, result in in_chunks(group, partial(_seen_inside, tokens), size, chunk_tokens(sequence.grid)):
            places = _queries(tokens, chunk).flatten().to(out.device)
            out[:, :, places] = rearrange(result, "b e w q d -> b e (w q) d")
    if len(other := sequence.other()):
        out[:, :, other] = _seen_by_text(tokens, list(product(rows[::2], columns[::2])), other)
    return out


def tapered_attention(tokens: Tokens, corners: np.ndarray) -> Tensor:
    """Windows at (y, x) `corners` [n, 2], of which each token takes its average by sin²: the picture's rows [B, heads, n, D]."""
    sequence, size = tokens.sequence, tokens.native
    weight = torch.outer(*(torch.sin(pi * (torch.arange(n) + 0.5) / n) ** 2 for n in size)) + LEAST_WEIGHT
    dtype, (batch, heads, _, depth) = torch.promote_types(tokens.q.dtype, torch.float32), tokens.q.shape
    total = tokens.q.new_zeros(batch * heads, sequence.picture.stop - sequence.text, depth, dtype=dtype)
    weight, summed = weight.flatten().repeat(sequence.frames)[:, None].to(total), total.new_zeros(1, total.shape[1], 1)
    windows = [(_Span(y, y + size[0], y), _Span(x, x + size[1], x)) for y, x in corners.tolist()]
    for chunk, result in in_chunks(windows, partial(_seen_inside, tokens), size, chunk_tokens(sequence.grid)):
        places = (_queries(tokens, chunk) - sequence.text).to(total.device)
        add_rows(total, places, rearrange(result, "b e w q d -> (b e) w q d") * weight)
        add_rows(summed, places, weight.expand(1, len(chunk), -1, 1))
    return rearrange(total.div_(summed), "(b e) n d -> b e n d", b=batch).to(tokens.q.dtype)


def whole_attention(tokens: Tokens, scales: tuple[float, float], factor: float = 0.0) -> Tensor:
    """All tokens, positions stretched (NTK) and logits sharpened by √(ln n / ln n₀) for the number of tokens."""
    sequence = tokens.sequence
    text, picture = tokens.rotary.stretched(sequence.grid, sequence.text, scales, factor)
    padding = torch.zeros(sequence.padding, text.shape[1], dtype=text.dtype)
    turns = torch.cat([text, picture.repeat(sequence.frames, 1), padding])
    native = tokens.others + sequence.frames * tokens.native[0] * tokens.native[1]
    q = tokens.turned(tokens.q, turns).mul_(sqrt(log(sequence.length) / log(native)))
    return tokens.in_halves(q, tokens.turned(tokens.k, turns), tokens.v, tokens.mask)


def lattice_attention(tokens: Tokens, strides: Grid) -> Tensor:
    """The sub-grids [a::S_h, b::S_w], each a native picture of its own with all the text, whose answers are averaged."""
    sequence = tokens.sequence
    size = (-(-sequence.grid[0] // strides[0]), -(-sequence.grid[1] // strides[1]))
    text, picture = tokens.rotary.lattice(sequence.grid, size, strides)
    padding = text.expand(sequence.padding, -1)
    turns = torch.cat([text.expand(sequence.text, -1), picture.repeat(sequence.frames, 1), padding])
    q, k = tokens.turned(tokens.q, turns), tokens.turned(tokens.k, turns)
    other, kept = sequence.other(), sequence.other(tokens.native_padding)
    out, seen, count = torch.empty_like(tokens.q), 0.0, 0
    for a in range(strides[0]):
        for b in range(strides[1]):
            lattice = sequence.tokens(slice(a, None, strides[0]), slice(b, None, strides[1]))
            queries, keys = torch.cat([other, lattice]), torch.cat([kept, lattice])
            mask = None if tokens.mask is None else tokens.mask[..., keys]
            result = tokens.in_halves(q[:, :, queries], k[:, :, keys], tokens.v[:, :, keys], mask)
            out[:, :, lattice] = result[:, :, len(other) :]
            seen, count = seen + result[:, :, : len(other)], count + 1
    out[:, :, other] = seen / count
    return out


def fused(overall: Tensor, local: Tensor, sequence: Sequence, factor: int) -> Tensor:
    """global + G(local − global) of the picture's rows, P Eq. 7; everything else is the global branch's."""
    heads, frames = overall.shape[1], sequence.frames
    own = overall[:, :, sequence.picture]
    change = rearrange(local - own, "b e (t n) d -> (b t) n (e d)", t=frames)
    change = rearrange(blur_tokens(change, sequence.grid, factor), "(b t) n (e d) -> b e (t n) d", t=frames, e=heads)
    out = overall.clone()
    out[:, :, sequence.picture] = own + change
    return out


@dataclass(frozen=True)
class _Span:
    """A block on one axis, and where the window around it begins."""

    start: int
    stop: int
    window: int


Window = tuple[_Span, _Span]  # rows, columns


def _blocks(length: int, window: int, shift: int) -> list[_Span]:
    window = min(length, window)
    block = max(1, window // 2)
    spans = []
    for start in range(-(shift % block), length, block):
        around = min(max(start - (window - block) // 2, 0), length - window)
        spans.append(_Span(max(start, 0), min(start + block, length), around))
    return spans


def _seen_inside(tokens: Tokens, windows: list[Window]) -> Tensor:
    """What each window's block makes of the window, [B, heads, w, q, D]."""
    return tokens.gathered(_queries(tokens, windows), _keys(tokens, windows), _turns(tokens, windows))


def _seen_by_text(tokens: Tokens, windows: list[Window], other: Tensor) -> Tensor:
    """What text makes of the windows, on average."""

    def inside(chunk: list[Window]) -> Tensor:
        queries = other.expand(len(chunk), -1)
        return tokens.gathered(queries, _keys(tokens, chunk), _turns(tokens, chunk), turn_queries=True)

    parts = [result.sum(2) for _, result in in_chunks(windows, inside, tokens.native, chunk_tokens(tokens.sequence.grid))]
    return sum(parts[1:], parts[0]) / len(windows)


def _queries(tokens: Tokens, windows: list[Window]) -> Tensor:
    """Indices [w, q] of the windows' blocks, which are of one size."""
    row, column = windows[0]
    corners = [(row.start, column.start) for row, column in windows]
    return tokens.sequence.boxes(corners, (row.stop - row.start, column.stop - column.start))


def _keys(tokens: Tokens, windows: list[Window]) -> Tensor:
    """Indices [w, k] of the windows' keys, those beside the picture first."""
    other = tokens.sequence.other(tokens.native_padding).expand(len(windows), -1)
    return torch.cat([other, tokens.sequence.boxes([(row.window, column.window) for row, column in windows], tokens.native)], 1)


def _turns(tokens: Tokens, windows: list[Window]) -> Tensor:
    corners = torch.tensor([[row.window, column.window] for row, column in windows])
    return tokens.rotary.window(tokens.sequence.grid, tokens.native, corners)[:, None]
