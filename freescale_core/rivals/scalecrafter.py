"""ScaleCrafter (arXiv 2310.07702, a rival): its released tables of which convolutions it dilates, how much and how long."""

from dataclasses import dataclass
from math import ceil

from ..dilation import Level

MIDDLE: Level = ("middle", 0)
CLOSE = 0.05  # to a whole number: a native picture rounded to 64 px makes 2× a little more or less


@dataclass(frozen=True)
class Redilation:
    """One row of the tables."""

    until: int  # τ, of 50 steps
    factors: dict[Level, float]
    damped: dict[Level, float] | None = (
        None  # the milder list of noise-damped guidance; with it the dilation shrinks step by step
    )

    def at(self, step: int, damped: bool = False) -> dict[Level, float]:
        """Level → dilation at a step of 50, empty from τ on; of the milder list if `damped`."""
        if step >= self.until:
            return {}
        factors = (self.damped or {}) if damped else self.factors
        return {level: progressive(d, step, self.until) for level, d in factors.items()} if self.damped else factors


def progressive(d: float, step: int, until: int) -> int:
    """d_i = max(⌈d (τ − i)/τ⌉, 2)."""
    return max(ceil(d * (until - step) / until), 2)


def _same(factor: float, down: tuple[int, ...], up: tuple[int, ...]) -> dict[Level, float]:
    return dict.fromkeys([*(("down", n) for n in down), MIDDLE, *(("up", n) for n in up)], factor)


# Number of the U-Net's levels (SDXL's structure has 3, SD 1.5's 4) → enlargement → row.
TABLES: dict[int, dict[float, Redilation]] = {
    3: {
        2.0: Redilation(30, _same(2, (), (0,))),
        2.5: Redilation(30, _same(2.5, (), (0,))),
        4.0: Redilation(35, {**_same(4, (2,), (0,)), ("up", 1): 3, ("up", 2): 2}, damped=_same(2, (), (0,))),
    },
    4: {
        2.0: Redilation(30, _same(2, (1, 2, 3), (0, 1, 2))),
        2.5: Redilation(35, _same(2.5, (1, 2, 3), (0, 1, 2))),
        4.0: Redilation(
            35,
            {**_same(4, (3,), (0,)), ("down", 1): 2, ("down", 2): 3, ("up", 1): 3, ("up", 2): 2},
            damped={**_same(4, (3,), (0,)), ("down", 2): 3, ("up", 1): 3},
        ),
    },
}


def redilation(level_count: int, ratio: float) -> Redilation:
    """The row for a picture enlarged by `ratio`: the nearest one, its dilations scaled to this enlargement."""
    rows = TABLES[level_count]
    ratio = round(ratio) if abs(ratio - round(ratio)) <= CLOSE else ratio
    nearest = min(rows, key=lambda row: abs(row - ratio))

    def scaled(factors: dict[Level, float]) -> dict[Level, float]:
        return {level: d * ratio / nearest for level, d in factors.items()}

    row = rows[nearest]
    return Redilation(row.until, scaled(row.factors), row.damped and scaled(row.damped))
