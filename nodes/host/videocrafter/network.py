"""VideoCrafter2's U-Net: SD 2's with two kinds of layers between frames, which are the batch's samples."""

from collections.abc import Iterator
from typing import Any

import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, TimestepEmbedSequential, UNetModel
from torch import Tensor

from ..temporal import TemporalConvolution, TemporalTransformer, insert

FIRST_HEADS = 8  # of the attention after the first convolution, whatever the width


class VideoCrafterUNet(UNetModel):
    """The host's U-Net with layers between frames in its blocks, which the patch BETWEEN_FRAMES runs."""

    def __init__(self, *args, attn_precision=None, dtype: Any = None, device=None, operations: Any = None, **config):
        super().__init__(*args, attn_precision=attn_precision, dtype=dtype, device=device, operations=operations, **config)
        made: dict = {"dtype": dtype, "device": device}
        head = config["num_head_channels"]

        def transformer(channels: int, heads: int) -> TemporalTransformer:
            return TemporalTransformer(channels, heads, head, made, operations, attn_precision)

        def between(layer: torch.nn.Module) -> Iterator[torch.nn.Module]:
            if isinstance(layer, ResBlock):
                yield TemporalConvolution(layer.out_channels, made, operations)
            if isinstance(layer, SpatialTransformer):
                yield transformer(layer.in_channels, layer.in_channels // head)

        insert(self, between)
        first: Any = self.input_blocks[0]
        self.input_blocks[0] = TimestepEmbedSequential(*first, transformer(self.model_channels, FIRST_HEADS))


def host_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint's weights by the names that they have in a VideoCrafterUNet."""
    convolved = {name.partition(".temopral_conv.")[0] for name in weights if ".temopral_conv." in name}  # so spelt
    named = {}
    for name, weight in weights.items():
        section, *rest = name.split(".")
        if section == "fps_embedding":
            name = f"label_emb.0.{'.'.join(rest)}"
        elif section == "init_attn":
            name = f"input_blocks.0.1.{'.'.join(rest[1:])}"
            weight = weight[..., 0] if weight.ndim == 3 else weight  # a convolution over one frame
        elif section in ("input_blocks", "middle_block", "output_blocks"):
            depth = 1 if section == "middle_block" else 2
            block, number, rest = ".".join((section, *rest[: depth - 1])), int(rest[depth - 1]), rest[depth:]
            number += sum(f"{block}.{before}" in convolved for before in range(number))
            if rest[0] == "temopral_conv":
                number, rest = number + 1, rest[1:]
            name = ".".join((block, str(number), *rest))
        named[name] = weight
    return named
