"""U-Nets that draw pictures: SDXL and its relatives, SD 1.x and SD 2.x."""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import comfy.model_base
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock, FeedForward, SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, ResBlock, Upsample

from ....freescale_core.dilation import Layer
from .base import AttentionLayer, Family, Grid

CELL = 8  # px
# U-Nets that make video, other views, larger pictures or depth: nothing that FreeScale's windows or noise are for.
OTHER_TASKS = tuple(
    getattr(comfy.model_base, name)
    for name in ("SVD_img2vid", "Stable_Zero123", "SD_X4Upscaler", "Lotus")
    if hasattr(comfy.model_base, name)
)
SIZES, CROP = 6, 2  # SDXL's size conditioning ends with six numbers, of which the third and fourth are the crop
# Feature maps of the first width at the latent's size that are alive at once in the last blocks, at least.
FEATURE_MAPS = 10
OWN = (ResBlock, SpatialTransformer, Downsample, Upsample)  # what a block is built of; other packs inject what is none of these


class UNet(Family):
    """A U-Net of ComfyUI's, for pictures."""

    def picture_grid(self, q: torch.Tensor, k: torch.Tensor, extra: dict) -> Grid | None:
        """The block's grid, unless another node has merged the tokens or cut them into tiles."""
        h, w = extra["activations_shape"][-2:]
        return (h, w) if q.shape[1] == k.shape[1] == h * w else None

    def attention_layers(self) -> list[AttentionLayer]:
        """By section, block number and index in the block's transformer."""
        return [(part.section, part.block, index) for part, index, _ in self._transformer_blocks()]

    def convolutions(self) -> dict[Layer, torch.nn.Conv2d]:
        """Those of the residual blocks and of the down- and upsamplers."""
        found = {}
        for part in self._parts():
            for place, kind, module in _convolutions_of(part.module):
                if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
                    found[Layer(f"{part.name}.{place}", part.section, part.block, kind)] = module
        return found

    def feed_forwards(self) -> list[torch.nn.Module]:
        """One in each transformer block; one whose forward another node has changed is not ours to split."""
        forwards = (block.ff for _, _, block in self._transformer_blocks())
        return [ff for ff in forwards if getattr(ff.forward, "__func__", None) is FeedForward.forward]

    def with_crops(self, conditions: dict[str, Any], corners: list[tuple[int, int]]) -> dict[str, Any]:
        """SDXL's size conditioning y [B·n, …] with crops, as in DemoFusion's code."""
        y = conditions.get("y")
        if not isinstance(self.base, comfy.model_base.SDXL) or y is None:
            return conditions
        crops = self.base.embedder(self.cell * torch.tensor(corners, dtype=torch.float32).flatten())  # [n·2, width]
        width, y = crops.shape[-1], y.clone()
        first = y.shape[-1] - (SIZES - CROP) * width
        rows = crops.reshape(len(corners), 2 * width).repeat(len(y) // len(corners), 1)
        y[:, first : first + 2 * width] = rows.to(y)
        return {**conditions, "y": y}

    def call_bytes(self, batch: int, height: int, width: int) -> int:
        """Counted from the feature maps of the last blocks."""
        dtype = self.base.manual_cast_dtype or self.base.get_dtype()
        channels = self.base.model_config.unet_config["model_channels"]
        return FEATURE_MAPS * channels * dtype.itemsize * batch * prod(self.latent_size(height, width))

    def _transformer_blocks(self) -> Iterator[tuple["_Part", int, BasicTransformerBlock]]:
        for part in self._parts():
            if isinstance(part.module, SpatialTransformer):
                for index, block in enumerate(part.module.transformer_blocks):
                    if isinstance(block, BasicTransformerBlock):
                        yield part, index, block

    def _parts(self) -> Iterator["_Part"]:
        """What the network's blocks are built of, in the order of the network."""
        network: Any = self.network
        for section, blocks in (("input", network.input_blocks), ("output", network.output_blocks)):
            for number, block in enumerate(blocks):
                yield from _own(section, number, f"{section}_blocks.{number}", block)
            if section == "input" and network.middle_block is not None:  # KOALA-700M has none
                yield from _own("middle", 0, "middle_block", network.middle_block)


class _Part(NamedTuple):
    """A module of a block."""

    section: str  # input, middle or output
    block: int  # within the section; the middle is one block
    name: str  # the host's, as if nothing was injected before it
    module: torch.nn.Module


def _own(section: str, number: int, name: str, block: torch.nn.Sequential) -> Iterator[_Part]:
    own = [module for module in block if isinstance(module, OWN)]
    for place, module in enumerate(own):
        yield _Part(section, number, f"{name}.{place}", module)


def _convolutions_of(module: torch.nn.Module) -> list[tuple[str, str, torch.nn.Module]]:
    """(place, kind, convolution) of those in a part of a block."""
    if isinstance(module, ResBlock):
        return [("in_layers.2", "residual", module.in_layers[2]), ("out_layers.3", "residual", module.out_layers[3])]
    if isinstance(module, Downsample):
        return [("op", "downsampler", module.op)]
    return [("conv", "upsampler", module.conv)] if isinstance(module, Upsample) else []


def native_of(base: comfy.model_base.BaseModel) -> tuple[int, int]:
    """(height, width) px of the square pictures that a family of U-Nets was trained on."""
    config = base.model_config
    side = getattr(config, "freescale_native", None)
    if side is None and isinstance(base, (comfy.model_base.SDXL, comfy.model_base.SDXLRefiner)):
        side = 1024
    if side is None:
        v_prediction = base.model_type == comfy.model_base.ModelType.V_PREDICTION
        side = 768 if v_prediction and config.unet_config.get("context_dim") == 1024 else 512
    return side, side
