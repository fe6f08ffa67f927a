"""What the pack asks about a MODEL."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import torch
from comfy.model_base import BaseModel

from ....freescale_core.dilation import Layer
from ....freescale_core.geometry import ENLARGED_FROM, Enlargement, enlargement
from .model_sampling import Noise

AttentionLayer = tuple[str, int, int]  # section, block, index in the transformer: the host's key of a self-attention
Grid = tuple[int, int]  # (h, w) tokens


@dataclass(frozen=True)
class Family(ABC):
    """The answers for one model, or for the copy of it that is running: modules are that copy's own.

    Layers are those of a model that nothing was injected into, so they are the same for every copy, at any time.
    """

    base: BaseModel
    network: torch.nn.Module
    noise: Noise
    native: tuple[int, int]  # (height, width) px of the pictures that it was trained on
    latent_channels: int
    cell: int  # px a side of a latent's cell
    patch: int = 1  # cells: sides of latents are padded to multiples of it
    pins_size: bool = False  # whether prompts hold the picture's size, which is to stay the native one
    frames: bool = False  # whether latents have an axis of frames, of which a picture is one
    films: bool = False  # whether there may be more of them than one

    @classmethod
    @abstractmethod
    def of(cls, base: BaseModel, part: Callable[[str], Any], native_size: int) -> "Family":
        """The answers for a model whose `part` is what it runs with by that name; `native_size` px, 0 for the family's own.

        It refuses nothing: what cannot be patched was refused before it was.
        """

    @property
    def longest_side(self) -> int | None:
        """px beyond which it has no place for a token; None where there is no such limit."""
        return None

    @property
    def side_step(self) -> int:
        """Sides of pictures, in px, are multiples of it."""
        return self.cell * self.patch

    @property
    def native_tokens(self) -> int:
        """No layer has more tokens of a picture that is not enlarged."""
        return int(ENLARGED_FROM * prod(self.native) / self.side_step**2)

    @property
    def latent_shape(self) -> tuple[str | int, ...]:
        """What the axes of its latents are: a name, or a number where only one will do."""
        return "batch", self.latent_channels, *("frames" if self.films else 1,) * self.frames, "height", "width"

    @property
    def batch_may_be_clip(self) -> bool:
        """Whether layers that other packs inject may make a batch the frames of a clip, of which some are drawn at a time."""
        return False

    @property
    def of_one_size(self) -> dict[str, str]:
        """What its network takes at the latent's own size alone, where a prompt holds it: the host's name → what to do then."""
        return {}

    @property
    def is_given_whole_films(self) -> bool:
        """Whether a film beside the latent is one of the VAE's, and not stills and films joined."""
        return self.films

    @property
    def hears(self) -> bool:
        """Whether a film's latent may be nested with that of its sound."""
        return False

    def as_latent(self, samples: torch.Tensor) -> torch.Tensor:
        """A latent with all of its axes; nodes that make empty ones may leave the frame out."""
        return samples[:, :, None] if self.frames and samples.ndim == 4 else samples

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) cells of a picture in px."""
        return height // self.cell, width // self.cell

    def picture_size(self, h: int, w: int) -> tuple[int, int]:
        """(height, width) px of a latent in cells."""
        return h * self.cell, w * self.cell

    def enlarged(self, h: int, w: int) -> Enlargement | None:
        """How many times a latent of h × w cells exceeds a native one; None where it is native or smaller."""
        return enlargement(*self.picture_size(h, w), sqrt(prod(self.native)))

    def attention_layers(self) -> list[AttentionLayer]:
        """Every self-attention over the picture that the host has a key for, if it has such."""
        return []

    def picture_grid(self, q: torch.Tensor, k: torch.Tensor, extra: dict) -> Grid | None:
        """The grid of such a self-attention's tokens q, k [B, n, C]; None where they are not the picture's."""
        return None

    @abstractmethod
    def call_bytes(self, batch: int, height: int, width: int) -> int:
        """Bytes that one call takes at least beside the weights, on `batch` pictures of height × width px."""

    def convolutions(self) -> dict[Layer, torch.nn.Conv2d]:
        """The 3×3 convolutions inside the network's blocks (not its first and last), if it has such."""
        return {}

    def feed_forwards(self) -> list[tuple[torch.nn.Module, int]]:
        """The feed-forwards over tokens that are the host's own and may be given a part of the picture's places at a time.

        Each with the axis of those: 1 of tokens [B, h·w, C], 0 of those between frames, [B·h·w, frames, C].
        """
        return []

    def temporal_blocks(self) -> list[torch.nn.Module]:
        """The host's transformer blocks that attend between frames and not over the picture, whoever put them there."""
        return []

    def with_crops(self, conditions: dict[str, Any], corners: list[tuple[int, int]]) -> dict[str, Any]:
        """The inputs of a call on windows, with the (top, left) cells of each row's window as its crop."""
        return conditions


def inpaints_with_noise(base: BaseModel) -> bool:
    """Whether a model is given the noised reference where nothing is drawn; some video models are given it without noise."""
    return type(base).scale_latent_inpaint is BaseModel.scale_latent_inpaint


def network_of(part: Callable[[str], Any]) -> torch.nn.Module:
    """The network of a model, see `Family.of`; of a compiled one the network within."""
    network = part("diffusion_model")
    return getattr(network, "_orig_mod", network)


def with_longer_side(native: tuple[int, int], side: int) -> tuple[int, int]:
    """A native picture (height, width) px at a longer side that a person has given, or as it is for 0."""
    scale = side / max(native) if side else 1
    return round(native[0] * scale), round(native[1] * scale)
