"""What a stage changes in the prompts' conditioning."""

from typing import Any

from ....freescale_core.geometry import Enlargement
from ..family import Family, Grid


def stage_conditioning(family: Family, conditioning: list, placed_on: Grid, size: Grid, enlarged: Enlargement | None) -> list:
    """A prompt's conditioning as a stage of `size` cells takes it; its places were given on a picture of `placed_on` cells."""
    conditioning = [[tokens, _placed(values, placed_on, size)] for tokens, values in conditioning]
    return pin_size(conditioning, enlarged.native) if enlarged and family.pins_size else conditioning


def pin_size(conditioning: list, native: tuple[int, int]) -> list:
    """SDXL's size conditioning at the native picture, where the prompt does not set it: ComfyUI would take the target's."""
    height, width = native
    return [[tokens, {"width": width, "height": height, **values}] for tokens, values in conditioning]


def _placed(values: dict[str, Any], placed_on: Grid, size: Grid) -> dict[str, Any]:
    """Areas and GLIGEN's boxes, which the host keeps in cells, where they were; percentages and masks follow by themselves."""
    area, gligen = values.get("area"), values.get("gligen")
    if area and area[0] != "percentage" and len(area) == 4:
        values = {**values, "area": ("percentage", *(n / side for n, side in zip(area, placed_on * 2)))}
    if gligen and gligen[0] == "position":
        scales = tuple(side / before for side, before in zip(size, placed_on)) * 2
        boxes = [(text, *(n * scale for n, scale in zip(box, scales))) for text, *box in gligen[2]]
        values = {**values, "gligen": (*gligen[:2], boxes, *gligen[3:])}
    return values
