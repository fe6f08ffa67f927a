"""U-Nets that draw pictures: SDXL and its relatives, SD 1.x and SD 2.x; and clips, whose frames are the batch."""

from collections import Counter
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple

import comfy.model_base
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock, FeedForward, SpatialTransformer
from comfy.model_base import BaseModel

from ....freescale_core.dilation import Layer
from .base import AttentionLayer, Family, Grid, network_of, with_longer_side
from .model_sampling import VarianceExploding, law_of

CELL = 8  # px
SVD = 576, 1024  # px, native
# U-Nets that make other views, larger pictures or depth: nothing that FreeScale's windows or noise are for.
OTHER_TASKS = tuple(
    getattr(comfy.model_base, name)
    for name in ("SV3D_u", "SV3D_p", "Stable_Zero123", "SD_X4Upscaler", "Lotus")
    if hasattr(comfy.model_base, name)
)
SIZES, CROP = 6, 2  # SDXL's size conditioning ends with six numbers, of which the third and fourth are the crop
# Feature maps of the first width at the latent's size that are held at once in the last blocks, at least.
FEATURE_MAPS = 10
# What a block is built of, told by what it has: some packs give the host's own modules another class (but see _kind_of).
RESIDUAL, TRANSFORMER, DOWNSAMPLER, UPSAMPLER = "residual", "transformer", "downsampler", "upsampler"
MARKS = {
    RESIDUAL: ("in_layers", "out_layers"),
    TRANSFORMER: ("transformer_blocks", "proj_in"),
    DOWNSAMPLER: ("use_conv", "op"),
    UPSAMPLER: ("use_conv", "conv"),
}


class UNet(Family):
    """A U-Net of ComfyUI's, for pictures or frames."""

    @classmethod
    def of(cls, base: BaseModel, part: Callable[[str], Any], native_size: int) -> "UNet":
        """See Family."""
        native, channels = with_longer_side(_native(base), native_size), part("latent_format").latent_channels
        sampling = part("model_sampling")
        noise = (law_of(sampling) or VarianceExploding)(sampling)  # some finetunes of SDXL match flows
        return cls(base, network_of(part), noise, native, channels, CELL, pins_size=True)

    def picture_grid(self, q: torch.Tensor, k: torch.Tensor, extra: dict) -> Grid | None:
        """The block's grid, unless another node has merged the tokens or cut them into tiles."""
        h, w = extra["activations_shape"][-2:]
        return (h, w) if q.shape[1] == k.shape[1] == h * w else None

    def attention_layers(self) -> list[AttentionLayer]:
        """By section, block number and index in the block's transformer."""
        return list(dict.fromkeys((part.section, part.block, index) for part, index, _ in self._transformer_blocks()))

    def convolutions(self) -> dict[Layer, torch.nn.Conv2d]:
        """Those of the residual blocks and of the down- and upsamplers."""
        found, counts = {}, Counter()
        for part in self._parts():
            for place, module in _convolutions_of(part):
                if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
                    among = part.section, part.block, part.kind
                    found[Layer(f"{part.name}.{place}", *among, counts[among])] = module
                    counts[among] += 1
        return found

    @property
    def batch_may_be_clip(self) -> bool:
        """As AnimateDiff's motion modules make it."""
        return True

    def feed_forwards(self) -> list[tuple[torch.nn.Module, int]]:
        """One or two in each transformer block; one whose forward another node has changed is not ours to split."""
        found = [(block.ff, 1) for _, _, block in self._transformer_blocks()]
        found += [(ff, 0) for block in self.temporal_blocks() for ff in (block.ff, block.ff_in) if ff]
        return [(ff, axis) for ff, axis in found if getattr(ff.forward, "__func__", None) is FeedForward.forward]

    def temporal_blocks(self) -> list[Any]:
        """All but those of the host's spatial transformers."""
        spatial = {block for _, _, block in self._transformer_blocks()}
        return [block for block in _blocks_within(self.network) if block not in spatial]

    def with_crops(self, conditions: dict[str, Any], corners: list[tuple[int, int]]) -> dict[str, Any]:
        """SDXL's size conditioning y [B, …] with a crop for each row, as in DemoFusion's code."""
        y = conditions.get("y")
        if not isinstance(self.base, comfy.model_base.SDXL) or y is None:
            return conditions
        crops = self.base.embedder(self.cell * torch.tensor(corners, dtype=torch.float32).flatten())  # [B·2, width]
        width, y = crops.shape[-1], y.clone()
        first = y.shape[-1] - (SIZES - CROP) * width
        y[:, first : first + 2 * width] = crops.reshape(len(corners), 2 * width).to(y)
        return {**conditions, "y": y}

    def call_bytes(self, batch: int, height: int, width: int) -> int:
        """Counted from the feature maps of the last blocks."""
        dtype = self.base.manual_cast_dtype or self.base.get_dtype()
        channels = self.base.model_config.unet_config["model_channels"]
        return FEATURE_MAPS * channels * dtype.itemsize * batch * prod(self.latent_size(height, width))

    def _transformer_blocks(self) -> Iterator[tuple["_Part", int, Any]]:
        for part in self._parts():
            if part.kind == TRANSFORMER:
                for index, block in enumerate(part.module.transformer_blocks):
                    if hasattr(block, "attn1") and hasattr(block, "ff"):
                        yield part, index, block

    def _parts(self) -> Iterator["_Part"]:
        """What the network's blocks are built of, in its order; none of a network that another pack has put into something."""
        network: Any = self.network
        for section, blocks in (("input", "input_blocks"), ("middle", "middle_block"), ("output", "output_blocks")):
            found = getattr(network, blocks, None) or ()  # KOALA-700M has no middle
            if section == "middle":
                yield from _parts_of(section, 0, blocks, found)
            else:
                for number, block in enumerate(found):
                    yield from _parts_of(section, number, f"{blocks}.{number}", block)


class _Part(NamedTuple):
    """A module of a block."""

    section: str  # input, middle or output
    block: int  # within the section; the middle is one block
    kind: str
    name: str  # the host's, as if nothing was injected before it
    module: Any


def _parts_of(section: str, number: int, name: str, block: Any) -> Iterator[_Part]:
    kinds = ((module, _kind_of(module)) for module in block)
    for place, (module, kind) in enumerate((module, kind) for module, kind in kinds if kind):
        yield _Part(section, number, kind, f"{name}.{place}", module)


def _kind_of(module: torch.nn.Module) -> str | None:
    """None for what other packs inject, transformers between frames among it: the host gives prompts to its own class alone."""
    kind = next((kind for kind, marks in MARKS.items() if all(hasattr(module, mark) for mark in marks)), None)
    return None if kind == TRANSFORMER and not isinstance(module, SpatialTransformer) else kind


def _blocks_within(module: torch.nn.Module) -> Iterator[BasicTransformerBlock]:
    """The host's transformer blocks; what is in them is not looked through, which nearly all of a network is."""
    if isinstance(module, BasicTransformerBlock):
        yield module
        return
    for child in module.children():
        yield from _blocks_within(child)


def _convolutions_of(part: _Part) -> list[tuple[str, Any]]:
    """(place, module) of where a part of a block has its convolutions."""
    module = part.module
    if part.kind == RESIDUAL:
        return [("in_layers.2", module.in_layers[2]), ("out_layers.3", module.out_layers[3])]
    if part.kind == DOWNSAMPLER:
        return [("op", module.op)]
    return [("conv", module.conv)] if part.kind == UPSAMPLER else []


def _native(base: BaseModel) -> tuple[int, int]:
    """(height, width) px of the pictures that a family of U-Nets was trained on, most of them square."""
    config = base.model_config
    side = getattr(config, "freescale_native", None)
    if side is None and isinstance(base, comfy.model_base.SVD_img2vid):
        side = SVD
    if isinstance(side, tuple):
        return side
    if side is None and isinstance(base, (comfy.model_base.SDXL, comfy.model_base.SDXLRefiner)):
        side = 1024
    if side is None:
        v_prediction = base.model_type == comfy.model_base.ModelType.V_PREDICTION
        side = 768 if v_prediction and config.unet_config.get("context_dim") == 1024 else 512
    return side, side
