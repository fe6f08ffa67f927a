"""RegionDetailMask: how much detail goes where."""

import json

import torch
from comfy_api.latest import io

from ..freescale_core.detail import detail_map
from .host.errors import bad_input, within_limits
from .types import DetailMap

NAME = "FreeScale Region Detail"
TINT = (1.0, 0.35, 0.1)  # of the overlay where detail is highest
EMPTY_SIDE = 512  # px of the map when neither a picture nor a mask gives a size


class RegionDetailMask(io.ComfyNode):
    """Region-aware detail (FreeScale, section 3.2): a mask as a map of α."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RegionDetailMask",
            display_name=NAME,
            category="FreeScale",
            description=(
                "Says where a cascade may invent more detail and where it stays close to the previous picture. "
                "Inside the mask detail_inside holds, outside detail_outside."
            ),
            inputs=[
                io.Image.Input("image", optional=True, tooltip="The picture the mask belongs to: gives its size and the backdrop of the overlay."),
                io.Mask.Input("mask", optional=True, tooltip="Any mask: the MaskEditor, a segmenter, SolidMask. White is inside; greys lie in between."),
                io.String.Input("regions", default="", tooltip="Painted regions, as text. Filled by the painter; leave it empty."),
                io.Float.Input("detail_inside", default=3.0, min=0.0, max=20.0, step=0.05, tooltip="Detail inside the mask: 3 invents more than the usual 2."),
                io.Float.Input("detail_outside", default=0.5, min=0.0, max=20.0, step=0.05, tooltip="Detail outside the mask: 0.5 stays close to the previous picture."),
                io.Float.Input("feather", default=16.0, min=0.0, max=256.0, step=1.0, tooltip="Softness of the edge between the two, in px of the mask."),
            ],
            outputs=[
                DetailMap.Output(display_name="DETAIL_MAP", tooltip="For the cascade's or the blend sampler's detail_map."),
                io.Mask.Output(display_name="MASK", tooltip="The mask with its feathered edge."),
                io.Image.Output(display_name="IMAGE", tooltip="The map as a coloured overlay, to look at."),
            ],
        )  # fmt: skip

    @classmethod
    @within_limits
    def execute(cls, regions, detail_inside, detail_outside, feather, image=None, mask=None) -> io.NodeOutput:
        _require_no_painting(regions)
        mask = _checked_mask(mask, image)
        soft = detail_map(mask, 1.0, 0.0, feather)
        alpha = detail_map(soft, detail_inside, detail_outside)
        backdrop = torch.full((*soft.shape, 3), 0.5) if image is None else image[..., :3].cpu()
        overlay = torch.lerp(backdrop, torch.tensor(TINT).expand_as(backdrop), 0.6 * soft[..., None])
        return io.NodeOutput(alpha, soft, overlay)


def _require_no_painting(regions: str) -> None:
    """The painter is yet to come: its input exists, so that workflows keep it, and must be empty until then."""
    if not regions.strip():
        return
    try:
        painted = json.loads(regions).get("regions")
    except (ValueError, AttributeError):
        raise bad_input(NAME, "regions", regions[:40], "this is not a painting. Clear the text") from None
    if painted:
        raise bad_input(
            NAME, "regions", f"{len(painted)} painted", "this version cannot paint yet. Clear the text and wire a mask instead"
        )


def _checked_mask(mask: torch.Tensor | None, image: torch.Tensor | None) -> torch.Tensor:
    """The mask as [B, H, W] in 0 … 1, B that of the picture; nothing inside where none is wired."""
    shape = (1, EMPTY_SIDE, EMPTY_SIDE) if image is None else tuple(image.shape[:3])
    if mask is None:
        return torch.zeros(shape)
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3:
        raise bad_input(
            NAME, "mask", list(mask.shape), "a mask has the shape [batch, height, width]. Convert a picture with ImageToMask"
        )
    if not torch.isfinite(mask).all():
        raise bad_input(NAME, "mask", "NaN", "the mask has values that are not numbers. Look at the node that makes it")
    if image is not None and mask.shape[1:] != image.shape[1:3]:
        raise bad_input(
            NAME, "mask", f"{mask.shape[2]}x{mask.shape[1]}",
            f"the picture is {image.shape[2]}x{image.shape[1]}. Use a mask of that picture, or resize the mask to it first",
        )  # fmt: skip
    if image is not None and mask.shape[0] != image.shape[0]:
        if mask.shape[0] != 1:
            raise bad_input(
                NAME,
                "mask",
                f"{mask.shape[0]} masks",
                f"there are {image.shape[0]} pictures. Wire one mask for all of them, or one for each",
            )
        mask = mask.expand(image.shape[0], -1, -1)
    return mask.float().cpu().clamp(0, 1)
