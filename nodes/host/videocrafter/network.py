"""VideoCrafter2's U-Net: SD 2's with two kinds of layers between frames, which are the batch's samples."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from comfy.ldm.modules.attention import BasicTransformerBlock, SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, TimestepEmbedSequential, UNetModel
from einops import rearrange
from torch import Tensor

FIRST_HEADS = 8  # of the attention after the first convolution, whatever the width


class TemporalConvolution(torch.nn.Module):
    """Four convolutions over three frames each, after a residual block: its code's TemporalConvBlock."""

    def __init__(self, channels: int, made: dict, operations: Any):
        super().__init__()

        def layer(*dropout: torch.nn.Module) -> torch.nn.Sequential:  # whose names are those of the checkpoint
            norm = operations.GroupNorm(32, channels, **made)
            convolution = operations.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), **made)
            return torch.nn.Sequential(norm, torch.nn.SiLU(), *dropout, convolution)

        self.conv1 = layer()
        self.conv2, self.conv3, self.conv4 = (layer(torch.nn.Identity()) for _ in range(3))

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Features [B·frames, C, h, w]."""
        clips = rearrange(x, "(b t) c h w -> b c t h w", t=frames)
        change = self.conv4(self.conv3(self.conv2(self.conv1(clips))))
        return x + rearrange(change, "b c t h w -> (b t) c h w")


class TemporalTransformer(torch.nn.Module):
    """Self-attention, twice, between the frames of each place, after a transformer over the picture."""

    def __init__(self, channels: int, heads: int, head_channels: int, precision: Any, made: dict, operations: Any):
        super().__init__()
        inner = heads * head_channels
        self.norm = operations.GroupNorm(32, channels, eps=1e-6, **made)
        self.proj_in = operations.Linear(channels, inner, **made)
        block = BasicTransformerBlock(inner, heads, head_channels, attn_precision=precision, operations=operations, **made)
        self.transformer_blocks = torch.nn.ModuleList([block])
        self.proj_out = operations.Linear(inner, channels, **made)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Features [B·frames, C, h, w]; they are normalised over a clip, so that its frames must come together."""
        clips, (h, w) = rearrange(x, "(b t) c h w -> b c t h w", t=frames), x.shape[-2:]
        tokens = self.proj_in(rearrange(self.norm(clips), "b c t h w -> (b h w) t c"))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        return x + rearrange(self.proj_out(tokens), "(b h w) t c -> (b t) c h w", h=h, w=w)


class VideoCrafterUNet(UNetModel):
    """The host's U-Net with those layers in its blocks. `BETWEEN_FRAMES` is the patch by which the host runs them."""

    def __init__(self, *args, attn_precision=None, dtype: Any = None, device=None, operations: Any = None, **config):
        super().__init__(*args, attn_precision=attn_precision, dtype=dtype, device=device, operations=operations, **config)
        made: dict = {"dtype": dtype, "device": device}
        head = config["num_head_channels"]

        def transformer(channels: int, heads: int) -> TemporalTransformer:
            return TemporalTransformer(channels, heads, head, attn_precision, made, operations)

        def layers(block: Any) -> Iterator[torch.nn.Module]:
            for layer in block:
                yield layer
                if isinstance(layer, ResBlock):
                    yield TemporalConvolution(layer.out_channels, made, operations)
                if isinstance(layer, SpatialTransformer):
                    yield transformer(layer.in_channels, layer.in_channels // head)

        for blocks in (self.input_blocks, self.output_blocks):
            for number, block in enumerate(blocks):
                blocks[number] = TimestepEmbedSequential(*layers(block))
        self.middle_block = TimestepEmbedSequential(*layers(self.middle_block))
        first = TimestepEmbedSequential(*layers(self.input_blocks[0]), transformer(self.model_channels, FIRST_HEADS))
        self.input_blocks[0] = first


def _between_frames(layer: Callable, x: Tensor, *others) -> Tensor:
    """As the host calls its `forward_timestep_embed_patch`: the last but one of the `others` is the number of frames."""
    return layer(x, others[-2])


BETWEEN_FRAMES = ((TemporalConvolution, TemporalTransformer), _between_frames)


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
