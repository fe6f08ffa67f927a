"""Which stages a cascade has: factors such as 2x, 2x or sizes such as 2048x2048, 4096x4096."""

import re
from dataclasses import dataclass
from math import floor

from ..geometry import LARGEST_SIDE
from .lists import entries

SIDE_STEP = 8  # px; sides of every model's pictures are multiples of it
MOST_STAGES = 16
LARGEST_FACTOR = 64  # of one stage: from the smallest native pictures, 256 px, to the largest side


@dataclass(frozen=True)
class StageSize:
    """One stage as typed: a factor of the previous picture, or a size in px."""

    factor: float = 1.0
    size: tuple[int, int] | None = None  # (height, width); it counts where it is given


def parse_stages(text: str, step: int = SIDE_STEP) -> list[StageSize]:
    """Read "2x, 2x" or "2048x2048, 4096x4096" (width x height); ValueError tells what is wrong with which part.

    Sizes are multiples of `step` px, which is the model's, or where none is known yet what every model's is a multiple of.
    """
    stages = []
    for part in entries(text):
        if match := re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s*[x×]", part):
            factor = float(match[1])
            if factor < 1:
                raise ValueError(f"“{part}” would make the picture smaller: write a factor of 1x or more")
            if factor > LARGEST_FACTOR:
                raise ValueError(f"“{part}” is too much at once: write a factor of {LARGEST_FACTOR}x at most, better 2x, 2x")
            stages.append(StageSize(factor=factor))
        elif match := re.fullmatch(r"(\d{1,6})\s*[x×]\s*(\d{1,6})", part):
            width, height = int(match[1]), int(match[2])
            if width % step or height % step or not width or not height:
                near = "x".join(str(max(step, round(n / step) * step)) for n in (width, height))
                raise ValueError(f"“{part}” is not a multiple of {step} px: write {near}")
            stages.append(StageSize(size=(height, width)))
        else:
            raise ValueError(
                f"“{part}” is not a stage: write factors such as 2x, 2x or sizes such as 2048x2048, 4096x4096 (width x height)"
            )
    if len(stages) > MOST_STAGES:
        raise ValueError(f"these are {len(stages)} stages: write {MOST_STAGES} at most")
    if not stages:
        raise ValueError("no stage is given: write for instance 2x, 2x or 2048x2048")
    return stages


def stage_sizes(text: str, height: int, width: int, step: int = SIDE_STEP) -> list[tuple[int, int]]:
    """(height, width) px of each stage for an input picture of that size; factors are of the picture before.

    Sides that a factor makes are rounded to `step` px. ValueError where a stage shrinks or is absurdly large.
    """
    sizes = []
    for stage in parse_stages(text, step):
        new = stage.size or tuple(round(side * stage.factor / step) * step for side in (height, width))
        named = f"{new[1]}x{new[0]}"
        if stage.size and (new[0] < height or new[1] < width):
            raise ValueError(f"{named} is smaller than the {width}x{height} picture before it: stages can only grow")
        if max(new) > LARGEST_SIDE:
            most = floor(100 * LARGEST_SIDE / max(height, width)) / 100
            raise ValueError(f"{named} is too large: a side may have {LARGEST_SIDE} px at most, which is {most:g}x here")
        height, width = new
        sizes.append(new)
    return sizes
