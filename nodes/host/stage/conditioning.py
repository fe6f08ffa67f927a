"""What a stage changes in the prompts' conditioning."""

from ....freescale_core.geometry import Enlargement
from ..family import Family


def stage_conditioning(family: Family, conditioning: list, enlarged: Enlargement | None) -> list:
    """A prompt's conditioning as a stage of that size takes it."""
    return pin_size(conditioning, enlarged.native) if enlarged and family.pins_size else conditioning


def pin_size(conditioning: list, native: tuple[int, int]) -> list:
    """SDXL's size conditioning at the native picture, where the prompt does not set it: ComfyUI would take the target's."""
    height, width = native
    return [[tokens, {"width": width, "height": height, **values}] for tokens, values in conditioning]
