"""RegionDetailMask: how much detail goes where."""

import torch
from comfy_api.latest import io

from ...freescale_core.detail import HIGHEST_DETAIL, detail_map, feathered, resize_map
from ..host.checks import checked
from ..host.errors import bad_input, parsed, validity
from ..host.pictures import preview
from ..host.schema import where_known
from ..host.types import DetailMap
from .painting import Painting, paint, painted_size, parse_painting

NAME = "FreeScale Region Detail"
USUAL = 2.0  # α of a cascade without a map
# RGB of the overlay beside the usual and at the far end, as in js/painter/colours.js
WARM, COLD = ((1.0, 0.67, 0.12), (0.78, 0.04, 0.04)), ((0.16, 0.59, 1.0), (0.27, 0.04, 0.75))
EMPTY_SIDE = 1024  # px of the map's longer side when neither a picture nor a mask gives a size


class RegionDetailMask(io.ComfyNode):
    """Region-aware detail (FreeScale, section 3.2): a painting and a mask as a map of α."""

    @classmethod
    @where_known(search_aliases=["mask painter", "paint mask", "detail map", "mask editor", "protect face", "regional detail"])
    def define_schema(cls) -> io.Schema:
        regions = io.String.Input(
            "regions", default="", tooltip="The painted regions. They are kept in the workflow, so that sharing it shares them."
        )
        regions.extra_dict = {"widgetType": "FREESCALE_REGIONS"}  # js/region_detail.js draws it; to the server it is a text
        return io.Schema(
            node_id="RegionDetailMask",
            display_name=NAME,
            category="FreeScale",
            description=(
                "Says where a cascade may invent more detail and where it stays close to the previous picture. "
                "Paint regions with values of their own, or wire a mask: inside it detail_inside holds, outside detail_outside."
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The picture the mask belongs to: gives its size and the backdrop of the overlay.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Any mask: the MaskEditor, a segmenter, SolidMask. White is inside; greys lie in between.",
                ),
                regions,
                io.Float.Input(
                    "detail_inside",
                    default=3.0,
                    min=0.0,
                    max=HIGHEST_DETAIL,
                    step=0.05,
                    tooltip="Detail inside the mask: 3 invents more than the usual 2.",
                ),
                io.Float.Input(
                    "detail_outside",
                    default=0.5,
                    min=0.0,
                    max=HIGHEST_DETAIL,
                    step=0.05,
                    tooltip="Detail outside the mask: 0.5 stays close to the previous picture.",
                ),
                io.Float.Input(
                    "feather", default=16.0, min=0.0, max=256.0, step=1.0, tooltip="Softness of all edges, in px of the picture."
                ),
            ],
            outputs=[
                DetailMap.Output(display_name="DETAIL_MAP", tooltip="For the cascade's or the blend sampler's detail_map."),
                io.Mask.Output(display_name="MASK", tooltip="Where something is painted or masked, with its feathered edges."),
                io.Image.Output(
                    display_name="IMAGE",
                    tooltip="The map as a coloured overlay, to look at: warm has more detail than usual, cold less.",
                ),
            ],
            is_output_node=True,  # so that it can be run alone, to fetch the picture to paint on
        )

    @classmethod
    def validate_inputs(cls, regions: str | None = None) -> bool | str:
        """Refuse a broken painting when Queue is pressed."""
        return validity(NAME, "regions", regions, parse_painting)

    @classmethod
    @checked
    def execute(cls, regions, detail_inside, detail_outside, feather, image=None, mask=None) -> io.NodeOutput:
        painting = parsed(NAME, "regions", regions, parse_painting)
        soft = _fitted_mask(mask, image, painting)
        size = soft.shape[1:]
        backdrops = {"backdrop": preview(image), "mask": preview(None if mask is None else soft[..., None].expand(-1, -1, -1, 3))}
        coarse = resize_map(soft, *painted_size(painting, *size))[:, 0]
        alpha = detail_map(coarse, detail_inside, detail_outside)
        if painting.shapes:
            alpha, soft = paint(painting, alpha, coarse, detail_inside, detail_outside)
        alpha, soft = (feathered(each, feather * each.shape[1] / size[0]) for each in (alpha, soft))
        soft = resize_map(soft, *size)[:, 0]
        return io.NodeOutput(alpha, soft, _overlay(image, resize_map(alpha, *size)[:, 0]), ui=backdrops)


def _overlay(image: torch.Tensor | None, alpha: torch.Tensor) -> torch.Tensor:
    """The picture [B, H, W, 3] tinted by α, in its own precision: warm where detail is more than usual, cold where less."""
    picture = torch.full((*alpha.shape, 3), 0.5) if image is None else image[..., :3].float().cpu()
    position = (alpha / (alpha + USUAL))[..., None]  # 0 … 1, the usual in the middle
    away = 2 * (position - 0.5).abs()
    warm, cold = (torch.lerp(torch.tensor(near), torch.tensor(far), away) for near, far in (WARM, COLD))
    opacity = 0.6 * torch.where(position > 0.5, away.sqrt(), away)
    tinted = torch.lerp(picture, torch.where(position > 0.5, warm, cold), opacity)
    return tinted if image is None else tinted.to(image.dtype)


def _fitted_mask(mask: torch.Tensor | None, image: torch.Tensor | None, painting: Painting) -> torch.Tensor:
    """The mask as [B, H, W] in 0 … 1, B that of the picture; nothing inside where none is wired."""
    if mask is None:
        height, width = (max(1, round(EMPTY_SIDE * min(1.0, ratio))) for ratio in (1 / painting.aspect, painting.aspect))
        return torch.zeros((1, height, width) if image is None else tuple(image.shape[:3]))
    if mask.ndim == 2:
        mask = mask[None]
    if image is not None and mask.shape[1:] != image.shape[1:3]:
        raise bad_input(
            NAME,
            "mask",
            f"{mask.shape[2]}x{mask.shape[1]}",
            f"the picture is {image.shape[2]}x{image.shape[1]}. Use a mask of that picture, or resize the mask to it first",
        )
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
