"""The small languages that people type into widgets: which blocks, and which stages. Errors say what would be right."""

import re
from dataclasses import dataclass

from .geometry import LARGEST_SIDE, LATENT_CELL

SECTIONS = {"down": "input", "input": "input", "middle": "middle", "up": "output", "output": "output"}

MOST_STAGES = 16


@dataclass(frozen=True)
class Selection:
    """A set of U-Net blocks: per section an inclusive range of block numbers."""

    ranges: tuple[tuple[str, int, int], ...]

    def contains(self, section: str, index: int) -> bool:
        """Whether block `index` of "input", "middle" or "output" is selected."""
        return any(section == name and first <= index <= last for name, first, last in self.ranges)


def parse_blocks(text: str) -> Selection:
    """Read "all", "down, middle" or "input.4-8, output.0"; ValueError tells what is wrong with which part."""
    ranges: list[tuple[str, int, int]] = []
    for part in _parts(text):
        if part == "all":
            ranges += [(section, 0, 10**6) for section in ("input", "middle", "output")]
            continue
        match = re.fullmatch(r"(down|input|middle|up|output)(?:\.(\d{1,3})(?:-(\d{1,3}))?)?", part)
        if not match:
            raise ValueError(
                f"“{part}” is not a block: write all, down, middle, up, input.4, input.4-8 or output.0-2, separated by commas"
            )
        name, first, last = match.groups()
        if first is None:
            ranges.append((SECTIONS[name], 0, 10**6))
            continue
        low, high = int(first), int(last or first)
        if high < low:
            raise ValueError(f"“{part}” runs backwards: write {name}.{high}-{low}")
        ranges.append((SECTIONS[name], low, high))
    if not ranges:
        raise ValueError("no block is named: write all, or for instance down, middle")
    return Selection(tuple(ranges))


@dataclass(frozen=True)
class StageSize:
    """One stage as typed: a factor of the previous picture, or a size in px."""

    factor: float = 1.0
    size: tuple[int, int] | None = None  # (height, width); it counts where it is given


def parse_stages(text: str) -> list[StageSize]:
    """Read "2x, 2x" or "2048x2048, 4096x4096" (width x height); ValueError tells what is wrong with which part."""
    stages = []
    for part in _parts(text):
        if match := re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)\s*[x×]", part):
            factor = float(match[1])
            if factor < 1:
                raise ValueError(f"“{part}” would make the picture smaller: write a factor of 1x or more")
            stages.append(StageSize(factor=factor))
        elif match := re.fullmatch(r"(\d{1,6})\s*[x×]\s*(\d{1,6})", part):
            width, height = int(match[1]), int(match[2])
            if width % LATENT_CELL or height % LATENT_CELL or not width or not height:
                near = "x".join(str(max(LATENT_CELL, round(n / LATENT_CELL) * LATENT_CELL)) for n in (width, height))
                raise ValueError(f"“{part}” is not a multiple of {LATENT_CELL} px: write {near}")
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


def stage_sizes(text: str, height: int, width: int) -> list[tuple[int, int]]:
    """(height, width) px of each stage for an input picture of that size; factors are of the picture before.

    Sides that a factor makes are rounded to 8 px. ValueError where a stage shrinks or is absurdly large.
    """
    sizes = []
    for stage in parse_stages(text):
        new = stage.size or tuple(round(side * stage.factor / LATENT_CELL) * LATENT_CELL for side in (height, width))
        named = f"{new[1]}x{new[0]}"
        if stage.size and (new[0] < height or new[1] < width):
            raise ValueError(f"{named} is smaller than the {width}x{height} picture before it: stages can only grow")
        if max(new) > LARGEST_SIDE:
            raise ValueError(f"{named} is too large: a side may have {LARGEST_SIDE} px at most")
        height, width = new
        sizes.append(new)
    return sizes


def _parts(text: str) -> list[str]:
    return [part for part in (p.strip().lower() for p in text.split(",")) if part]
