"""Rotary positions of transformers: how queries and keys that a model has already placed are turned to other places.

A head's D channels are pairs; on each axis (frame, height, width …) pair i turns by position · θ^(−2i/d). Only differences of
positions count, so what a turn adds is exact.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

Grid = tuple[int, int]  # (h, w) tokens
BAND = 4096  # tokens that are turned at a time: float32 takes twice the memory


@dataclass(frozen=True)
class Rotary:
    """Where a family of transformers places its tokens. Axis 0 is time or the text's own, 1 height, 2 width."""

    axes: tuple[int, ...]  # channels of a head that each axis turns
    theta: float  # of height and width
    centred: bool = False  # the picture's middle is 0 and the text goes on from its edge on every axis, as in Qwen-Image
    split: bool = False  # pairs are (j, j + D/2), and not (2j, 2j + 1)

    def window(self, grid: Grid, size: Grid, corners: Tensor) -> Tensor:
        """[n, D/2] for text beside windows at (y, x) `corners` [n, 2]: as a model on a native picture of that window sees it."""
        start = self._text_start(size) - self._text_start(grid)
        shift = torch.tensor([self._first(whole) - self._first(part) for whole, part in zip(grid, size)])
        return self._angles(self._places(start + shift + corners, other=start))

    def lattice(self, grid: Grid, size: Grid, strides: Grid) -> tuple[Tensor, Tensor]:
        """([1, D/2] for text, [h·w, D/2] for the picture) at ⌊p/S⌋: each sub-grid as a native picture of its own."""
        start = self._text_start(size) - self._text_start(grid)
        moved = [
            torch.arange(length) // stride + self._first(part) - torch.arange(length) - self._first(length)
            for length, part, stride in zip(grid, size, strides)
        ]
        text = self._angles(self._places(torch.full((1, 2), start), other=start))
        return text, self._angles(self._places(torch.cartesian_prod(*moved)))

    def stretched(self, grid: Grid, text: int, scales: tuple[float, float], factor: float = 0.0) -> tuple[Tensor, Tensor]:
        """([text, D/2], [h·w, D/2]) to larger θ on height and width (NTK): θ·s^(d/(d−2)), or θ·factor."""
        change = [torch.zeros_like(own) for own in self._frequencies]
        for axis, scale in zip((1, 2), scales):
            d = self.axes[axis]
            change[axis] = _frequencies(d, self.theta * (factor or scale ** (d / (d - 2)))) - self._frequencies[axis]
        places = [torch.arange(length) + self._first(length) for length in grid]
        words = (self._text_start(grid) + torch.arange(text))[:, None].expand(-1, 2) if self.centred else torch.zeros(text, 2)
        return self._angles(self._places(words), change), self._angles(self._places(torch.cartesian_prod(*places)), change)

    @cached_property
    def _frequencies(self) -> list[Tensor]:
        return [_frequencies(channels, self.theta) for channels in self.axes]

    def _first(self, length: int) -> int:
        """Position of a picture's first token on an axis."""
        return -(length // 2) if self.centred else 0

    def _text_start(self, grid: Grid) -> int:
        return max(grid) // 2 if self.centred else 0

    def _places(self, places: Tensor, other: float = 0.0) -> Tensor:
        """(y, x) [n, 2] as positions on all axes [n, axes], with `other` on the rest where text goes diagonally."""
        positions = torch.full((len(places), len(self.axes)), float(other if self.centred else 0), dtype=torch.float64)
        positions[:, 1:3] = places.double()
        return positions

    def _angles(self, positions: Tensor, frequencies: list[Tensor] | None = None) -> Tensor:
        """[n, axes] → [n, D/2]."""
        columns = positions.unbind(1)
        return torch.cat([torch.outer(p, omega) for p, omega in zip(columns, frequencies or self._frequencies)], 1)


@dataclass(frozen=True)
class RotaryAcrossHeads:
    """Where LTX places its tokens: frequencies go on from head to head, so that no two heads have the same. There is no text.

    Those of t, h and w take turns; channels that are left over lie before them and are not turned. Nearly half of the frequencies
    turn by more than a circle from token to token, so that stretching (NTK) would make others of them: places stay.
    """

    frequencies: Tensor  # [n] rad a token, of each axis
    channels: int  # of all heads together
    split: bool  # pairs are (j, j + D/2) of a head, and not (2j, 2j + 1)

    def window(self, grid: Grid, size: Grid, corners: Tensor) -> Tensor:
        """[n, 1] nothing for a text that is not there."""
        return torch.zeros(len(corners), 1, dtype=torch.float64)

    def lattice(self, grid: Grid, size: Grid, strides: Grid) -> tuple[Tensor, Tensor]:
        """(nothing for a text, [h·w, channels/2] for the picture) at ⌊p/S⌋: each sub-grid as a native picture of its own."""
        places = [torch.arange(length) // stride - torch.arange(length) for length, stride in zip(grid, strides)]
        moved = F.pad(torch.cartesian_prod(*places).double(), (1, 0))  # no change of t
        angles = rearrange(torch.einsum("pa,n->pna", moved, self.frequencies.double()), "p n a -> p (n a)")
        angles = F.pad(angles, (self.channels // 2 - angles.shape[1], 0))
        return torch.zeros_like(angles[:1]), angles

    def stretched(self, grid: Grid, text: int, scales: tuple[float, float], factor: float = 0.0) -> tuple[Tensor, Tensor]:
        """([text, 1], [h·w, 1]): nothing."""
        return torch.zeros(text, 1, dtype=torch.float64), torch.zeros(grid[0] * grid[1], 1, dtype=torch.float64)


def turned(x: Tensor, angles: Tensor, split: bool = False) -> Tensor:
    """Pairs of x [B, heads, …, n, D] turned by `angles` [..., n, D/2], or [n, heads · D/2] where each head has its own.

    Pairs are interleaved, or the two halves of D; in float32 or better, a band of tokens at a time.
    """
    if angles.shape[-1] > x.shape[-1] // 2:
        angles = rearrange(angles, "n (e d) -> e n d", e=x.shape[1])
    out, dtype = torch.empty_like(x), torch.promote_types(x.dtype, torch.float32)
    half = x.shape[-1] // 2
    first, second = (slice(half), slice(half, None)) if split else (slice(0, None, 2), slice(1, None, 2))
    cos, sin = (turn.to(dtype).to(x.device) for turn in (angles.cos(), angles.sin()))  # some devices have no float64
    for start in range(0, x.shape[-2], BAND):
        band = slice(start, start + BAND)
        part = x[..., band, :].to(dtype)
        even, odd = part[..., first], part[..., second]
        c, s = (turn[..., band, :] if turn.shape[-2] > 1 else turn for turn in (cos, sin))
        out[..., band, first] = even * c - odd * s
        out[..., band, second] = even * s + odd * c
    return out


def _frequencies(channels: int, theta: float) -> Tensor:
    return theta ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
