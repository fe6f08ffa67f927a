"""Layers between frames, inserted into ComfyUI's own U-Net, VideoCrafter2's and the demo model's, and the noise of the latter.

Frames are the batch's samples. It imports nothing of the pack, so that tools/demo_model/train_motion.py trains these very layers.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from comfy.ldm.modules.attention import BasicTransformerBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, TimestepEmbedSequential, UNetModel
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from einops import rearrange
from torch import Tensor

SHARED = 0.8  # of the power of the demo model's noise, by all frames of a clip


class TemporalConvolution(torch.nn.Module):
    """Four convolutions over three frames each, after a residual block: VideoCrafter's TemporalConvBlock."""

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
    """Self-attention, twice, between the frames of each place; `places` tells it which frame is which."""

    def __init__(
        self,
        channels: int,
        heads: int,
        head_channels: int,
        made: dict,
        operations: Any,
        precision: Any = None,
        places: bool = False,
    ):
        super().__init__()
        inner, self.places = heads * head_channels, places
        self.norm = operations.GroupNorm(32, channels, eps=1e-6, **made)
        self.proj_in = operations.Linear(channels, inner, **made)
        block = BasicTransformerBlock(inner, heads, head_channels, attn_precision=precision, operations=operations, **made)
        self.transformer_blocks = torch.nn.ModuleList([block])
        self.proj_out = operations.Linear(inner, channels, **made)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Features [B·frames, C, h, w]; they are normalised over a clip, so that its frames must come together."""
        clips, (h, w) = rearrange(x, "(b t) c h w -> b c t h w", t=frames), x.shape[-2:]
        tokens = self.proj_in(rearrange(self.norm(clips), "b c t h w -> (b h w) t c"))
        if self.places:
            tokens = tokens + timestep_embedding(torch.arange(frames, device=x.device), tokens.shape[-1]).to(tokens)
        for block in self.transformer_blocks:
            tokens = block(tokens)
        return x + rearrange(self.proj_out(tokens), "(b h w) t c -> (b t) c h w", h=h, w=w)


class MotionLayer(torch.nn.Module):
    """Pulls each channel of a clip's frames towards their mean, as far as the noise level asks for, then attends between them.

    Under much noise the mean decides what is drawn, so that frames that a U-Net of pictures draws are of one scene.
    """

    def __init__(self, channels: int, embedding: int, made: dict, operations: Any):
        super().__init__()
        self.pull = operations.Linear(embedding, channels, **made)
        self.transformer = TemporalTransformer(channels, 2, channels // 2, made, operations, places=True)

    def forward(self, x: Tensor, frames: int, embedding: Tensor) -> Tensor:
        """Features [B·frames, C, h, w]; the U-Net's embedding [B·frames, E] of noise level and size."""
        clips = rearrange(x, "(b t) c h w -> b t c h w", t=frames)
        distance = rearrange(clips.mean(1, keepdim=True) - clips, "b t c h w -> (b t) c h w")
        return self.transformer(x + self.pull(embedding)[..., None, None] * distance, frames)


def mixed_noise(noise: Tensor, frames: int) -> Tensor:
    """Noise [B·frames, ...] of which SHARED of the power is the same in all frames of a clip (arXiv 2305.10474, mixed noise).

    Frames that begin alike end as one scene, though a U-Net that was trained on pictures draws each. One frame keeps its noise.
    """
    clips = rearrange(noise, "(b t) ... -> b t ...", t=frames)
    mean = clips.mean(1, keepdim=True)
    mixed = (1 - SHARED) ** 0.5 * (clips - mean) + (1 + (frames - 1) * SHARED) ** 0.5 * mean
    return rearrange(mixed, "b t ... -> (b t) ...")


def insert(network: UNetModel, between: Callable[[torch.nn.Module], Iterable[torch.nn.Module]]) -> None:
    """Let every layer of a U-Net's blocks be followed by what `between` makes for it, run by BETWEEN_FRAMES or IN_MOTION."""

    def followed(block: Any) -> TimestepEmbedSequential:
        return TimestepEmbedSequential(*(each for layer in block for each in (layer, *between(layer))))

    for blocks in (network.input_blocks, network.output_blocks):
        for number, block in enumerate(blocks):
            blocks[number] = followed(block)
    network.middle_block = followed(network.middle_block)


def insert_motion(network: UNetModel, made: dict, operations: Any) -> torch.nn.ModuleList:
    """The demo model's layers between frames, one after each residual block of its U-Net; what to train and to load."""
    layers = torch.nn.ModuleList()

    def between(layer: torch.nn.Module) -> Iterable[torch.nn.Module]:
        if isinstance(layer, ResBlock):
            layers.append(MotionLayer(layer.out_channels, layer.emb_channels, made, operations))
            yield layers[-1]

    insert(network, between)
    return layers


def _between_frames(layer: Callable, x: Tensor, *others) -> Tensor:
    """As the host calls its `forward_timestep_embed_patch`: the last but one of the `others` is the number of frames."""
    return layer(x, others[-2])


def _in_motion(layer: Callable, x: Tensor, embedding: Tensor, *others) -> Tensor:
    """As `_between_frames`, with the embedding."""
    return layer(x, others[-2], embedding)


BETWEEN_FRAMES = ((TemporalConvolution, TemporalTransformer), _between_frames)
IN_MOTION = ((MotionLayer,), _in_motion)
