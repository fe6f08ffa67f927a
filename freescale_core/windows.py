"""Windows over a token grid (P §3.3): their plan, and where the jitter moves them. All lengths are tokens."""

import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class WindowPlan:
    """Overlapping windows of one size over an h × w token grid (P §3.3): every token is in at least one."""

    grid: tuple[int, int]
    size: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    jitter: tuple[int, int]  # largest displacement per axis; the grid is padded by it on every side

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.tops) * len(self.lefts)

    @property
    def block(self) -> tuple[int, int]:
        """Half a window: the stride of windows, and the size of `block_attention`'s blocks."""
        return _half(self.size[0]), _half(self.size[1])


@lru_cache
def window_plan(h: int, w: int, ratio: float) -> WindowPlan:
    """Windows of 1/`ratio` of the grid, stride half a window, the last one flush with the edge."""
    return windows_of((h, w), (_window(h, ratio), _window(w, ratio)))


def windows_of(grid: tuple[int, int], size: tuple[int, int]) -> WindowPlan:
    """Windows of one size, which the grid's own limits."""
    h, w = grid
    size = (min(h, size[0]), min(w, size[1]))
    tops, lefts = _starts(h, size[0]), _starts(w, size[1])
    r_h, r_w = (length // 8 if len(starts) > 1 else 0 for length, starts in zip(size, (tops, lefts)))
    return WindowPlan((h, w), size, tops, lefts, (r_h, r_w))


def _window(length: int, ratio: float) -> int:
    return min(length, max(1, round(length / ratio)))


def _starts(length: int, window: int) -> tuple[int, ...]:
    last = length - window
    return (*range(0, last, _half(window)), last)


def _half(window: int) -> int:
    return max(1, window // 2)


def fixed_views(plan: WindowPlan) -> np.ndarray:
    """The plan's windows without jitter: int [n, 4] of (top, bottom, left, right) in the padded grid."""
    return _views(plan, np.zeros((plan.count, 2), np.int64))


def jittered_views(plan: WindowPlan, key: int) -> np.ndarray:
    """The plan's windows, each displaced at random within its range; the same `key` (128 bits) draws the same.

    Interior windows move by U{−r … r}, the first on an axis by U{−r … 0}, the last by U{0 … r}.
    """
    words = drawn(key, 2 * plan.count).reshape(-1, 2)
    index = np.indices((len(plan.tops), len(plan.lefts))).reshape(2, -1).T
    shifts = np.empty_like(index)
    for axis, (reach, starts) in enumerate(zip(plan.jitter, (plan.tops, plan.lefts))):
        low = np.where(index[:, axis] == len(starts) - 1, 0, -reach)
        high = np.where(index[:, axis] == 0, 0, reach)
        shifts[:, axis] = low + (words[:, axis] % (high - low + 1).astype(np.uint64)).astype(np.int64)
    return _views(plan, shifts * (np.array(plan.jitter) > 0))


def inner_corners(plan: WindowPlan, key: int | None = None) -> np.ndarray:
    """(y, x) [n, 2] of the plan's windows; with a `key` those between the edges move by U{−r … r}, and stay inside."""
    corners = _corners(plan)
    if key is None:
        return corners
    last, reach = np.array(plan.grid) - np.array(plan.size), np.array(plan.jitter)
    parts = drawn_below_2_32(key, 2 * plan.count).reshape(-1, 2) / 2**32
    moved = corners + np.floor(parts * (2 * reach + 1)).astype(int) - reach
    return np.where((corners > 0) & (corners < last), np.clip(moved, 0, last), corners)


def drawn(key: int, count: int) -> np.ndarray:
    """Whole numbers of 64 bits: raw Philox words, whose stream is fixed for good, unlike numpy's distributions."""
    return np.random.Philox(key=key).random_raw(count)


def drawn_below_2_32(key: int, count: int) -> np.ndarray:
    """The upper halves of the same, which an int64 holds."""
    return (drawn(key, count) >> np.uint64(32)).astype(np.int64)


def draw_key(seed: int, sigma: float, h: int, w: int, section: str, block: int, index: int) -> int:
    """128 bits that name one layer's draw: never the batch or the order of calls, so cond and uncond agree."""
    text = f"{seed} {struct.pack('<f', sigma).hex()} {h}x{w} {section}.{block}.{index}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def _corners(plan: WindowPlan) -> np.ndarray:
    return np.stack(np.meshgrid(plan.tops, plan.lefts, indexing="ij"), -1).reshape(-1, 2)


def _views(plan: WindowPlan, shifts: np.ndarray) -> np.ndarray:
    starts = _corners(plan) + plan.jitter + shifts
    ends = starts + plan.size
    return np.stack([starts[:, 0], ends[:, 0], starts[:, 1], ends[:, 1]], 1)
