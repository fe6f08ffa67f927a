"""Which blocks of a U-Net: all, or a list such as down, middle, input.4-8."""

import re
from dataclasses import dataclass, field

from .lists import entries

SECTIONS = {"down": "input", "input": "input", "middle": "middle", "up": "output", "output": "output"}


@dataclass(frozen=True)
class Selection:
    """A set of U-Net blocks: per section an inclusive range of block numbers."""

    ranges: tuple[tuple[str, int, int], ...]
    text: str = field(compare=False)  # as it was written

    def __str__(self) -> str:
        return self.text

    def contains(self, section: str, index: int) -> bool:
        """Whether block `index` of "input", "middle" or "output" is selected."""
        return any(section == name and first <= index <= last for name, first, last in self.ranges)


def parse_blocks(text: str) -> Selection:
    """Read "all", "down, middle" or "input.4-8, output.0"; ValueError tells what is wrong with which part."""
    ranges: list[tuple[str, int, int]] = []
    for part in entries(text):
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
    return Selection(tuple(ranges), text)
