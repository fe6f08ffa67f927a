"""How many times a picture exceeds the native one (s and S of P §3); all lengths are pixels."""

from dataclasses import dataclass
from math import ceil, sqrt

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


def enlargement(height: int, width: int, native: float, longer_side: bool = False) -> Enlargement | None:
    """The enlargement of a height × width px picture, None where it is native or smaller.

    `native` is the side of a square with the training picture's area: the native picture has that area and the aspect
    ratio of this one. With `longer_side` it is instead the length of the longer side, as in the authors' code: the
    parity vectors need it, the nodes do not.
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
