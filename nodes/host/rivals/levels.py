"""The levels of a U-Net, for which the other methods have tables."""

from ....freescale_core.dilation import Layer, Level, levels
from ..errors import bad_input
from ..family import Family


def unet_levels(family: Family, node: str) -> tuple[dict[Level, list[Layer]], int]:
    """(the convolutions of each level, how many levels); refuses a U-Net that is built like neither SDXL nor SD 1.x / 2.x."""
    found = levels(family.convolutions())
    count = 1 + sum(layer.kind == "downsampler" for layers in found.values() for layer in layers)
    if count not in (3, 4):
        problem = f"its U-Net has {count} levels; the method is defined for SDXL (3) and SD 1.x / 2.x (4). Take such a model"
        raise bad_input(node, "model", type(family.base).__name__, problem)
    return found, count
