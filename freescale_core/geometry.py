"""Native picture, scale ratio and the window plan: all lengths are integers of the grid they are named after."""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt

import numpy as np

LATENT_CELL = 8  # px a side; SD 1.x, SD 2.x and SDXL
LARGEST_SIDE = 16_384  # px
NATIVE_STEP = 64  # px; the native picture's sides are rounded to it, as SDXL's own buckets are
ENLARGED_FROM = 1.5  # of the native area; models draw their own buckets (832×1216 …) without help


@dataclass(frozen=True)
class Enlargement:
    """How many times a picture exceeds the one the model was trained on, per axis (s_h, s_w of the paper)."""

    height: float
    width: float
    native: tuple[int, int]  # (h0, w0) px

    @property
    def ratio(self) -> float:
        """s: windows are 1/s of the picture on both axes."""
        return max(self.height, self.width)

    @property
    def factor(self) -> int:
        """S: the integer that dilation uses; the blur's size is 2S − 1. At least 2, or the blur would vanish."""
        return max(2, _round_up(self.ratio))

    @property
    def strides(self) -> tuple[int, int]:
        """(S_h, S_w): the steps of the strided sub-grids, at least 1 each."""
        return max(1, _round_up(self.height)), max(1, _round_up(self.width))


def enlargement(height: int, width: int, native: int, longer_side: bool = False) -> Enlargement | None:
    """The enlargement of a height × width px picture, None where it is native or smaller.

    `native` is the side of the model's square training picture (its area counts: the native picture keeps the
    aspect ratio). With `longer_side` it is instead the length of the longer side, as in the authors' code.
    """
    if longer_side:
        ratio = max(height, width) / native
        if ratio <= 1:
            return None
        return Enlargement(height / native, width / native, (_to_step(height / ratio), _to_step(width / ratio)))
    if height * width <= ENLARGED_FROM * native**2:
        return None
    shrink = native / sqrt(height * width)
    h0, w0 = _to_step(height * shrink), _to_step(width * shrink)
    return Enlargement(height / h0, width / w0, (h0, w0))


def _round_up(ratio: float) -> int:
    return ceil(ratio - 0.05)


def _to_step(pixels: float) -> int:
    return max(NATIVE_STEP, round(pixels / NATIVE_STEP) * NATIVE_STEP)


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
    return (*range(0, last, max(1, window // 2)), last)


def fixed_views(plan: WindowPlan) -> np.ndarray:
    """The plan's windows without jitter: int [n, 4] of (top, bottom, left, right) in the padded grid."""
    return _views(plan, np.zeros((plan.count, 2), np.int64))


def jittered_views(plan: WindowPlan, key: int) -> np.ndarray:
    """The plan's windows, each displaced at random within its range; the same `key` (128 bits) draws the same.

    Interior windows move by U{−r … r}, the first on an axis by U{−r … 0}, the last by U{0 … r}. Raw Philox words are
    used because their stream is fixed for good, unlike numpy's distributions.
    """
    words = np.random.Philox(key=key).random_raw(2 * plan.count).reshape(-1, 2)
    index = np.indices((len(plan.tops), len(plan.lefts))).reshape(2, -1).T
    shifts = np.empty_like(index)
    for axis, (reach, starts) in enumerate(zip(plan.jitter, (plan.tops, plan.lefts))):
        low = np.where(index[:, axis] == len(starts) - 1, 0, -reach)
        high = np.where(index[:, axis] == 0, 0, reach)
        shifts[:, axis] = low + (words[:, axis] % (high - low + 1).astype(np.uint64)).astype(np.int64)
    return _views(plan, shifts * (np.array(plan.jitter) > 0))


def _views(plan: WindowPlan, shifts: np.ndarray) -> np.ndarray:
    starts = np.stack(np.meshgrid(plan.tops, plan.lefts, indexing="ij"), -1).reshape(-1, 2) + plan.jitter + shifts
    ends = starts + plan.size
    return np.stack([starts[:, 0], ends[:, 0], starts[:, 1], ends[:, 1]], 1)
