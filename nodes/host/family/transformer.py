"""Transformers that draw pictures by flow matching: FLUX and Chroma, Z-Image, Krea 2, Qwen-Image, Wan, LTX, and others as far as
a cascade needs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import ceil, pi, prod
from typing import Any

import torch
from comfy.model_base import BaseModel

from ....freescale_core.joint_attention import Sequence
from ....freescale_core.rotary import Rotary, RotaryAcrossHeads
from .base import Family, network_of, with_longer_side
from .model_sampling import Flow

# px of a latent's cell, of formats that do not say it themselves on older hosts
CELLS = {"Flux2": 16, "Wan22": 16, "LTXV": 32, "HunyuanImage21": 32, "HunyuanVideo15": 16, "ChromaRadiance": 1}
SIDE = 1024  # native px of pictures
FILMS = {  # those that draw films: native (height, width) px by the channels of a token
    "WanModel": {1536: (480, 832), 5120: (720, 1280), 3072: (704, 1280)},
    "LTXVModel": {2048: (512, 768), 4096: (704, 1216)},
}
BEFORE_IT = "Give the cascade the prompt from before that node"
OF_ONE_SIZE = {
    **dict.fromkeys(("vace_frames", "time_dim_concat", "camera_conditions", "pose_video_latent", "face_video_pixels"), BEFORE_IT),
    "keyframe_idxs": "Put LTXVCropGuides before the cascade, for the prompts and the latent",  # the guides are frames of it, too
}
WIDTHS = ("hidden_size", "inner_dim", "dim", "model_channels")  # where networks keep the channels of a token
THETA = 10000.0  # of LTX, whatever a checkpoint says, and of Cosmos
TENSORS = 7  # of a token's channels that a block holds at once, at least: FLUX's widest layer


@dataclass(frozen=True)
class Layout:
    """How a network orders and places the tokens of its self-attention."""

    rotary: Rotary | RotaryAcrossHeads
    multiple: int = 1  # text and picture are padded to multiples of so many tokens, each on its own
    joint: bool = True  # text is among the tokens
    channels: int | None = None  # of the picture's attention, where there are others of other widths


class Transformer(Family):
    """A network of attention and nothing else, as far as the picture goes."""

    @classmethod
    def of(cls, base: BaseModel, part: Callable[[str], Any], native_size: int) -> "Transformer":
        """See Family."""
        network, latents = network_of(part), part("latent_format")
        name = type(latents).__name__
        cell = getattr(latents, "spacial_downscale_ratio", None) or CELLS.get(name, 8)
        films = next((sizes for name, sizes in FILMS.items() if _is(network, name)), None)
        native = (films or {}).get(_channels(network), (SIDE, SIDE))
        if side := getattr(base.model_config, "freescale_native", None):
            native = side, side
        return cls(
            base, network, Flow(part("model_sampling")), with_longer_side(native, native_size), latents.latent_channels, cell,
            patch=_patch(network), frames=latents.latent_dimensions == 3, films=films is not None,
        )  # fmt: skip

    @cached_property  # every layer of a call asks for it
    def layout(self) -> Layout | None:
        """Where its tokens are; None of a network that Scale Fusion does not know."""
        return layout_of(self.network)

    @property
    def longest_side(self) -> int | None:
        """Of networks that keep a table of places, as those of SD 3 do."""
        places = getattr(self.network, "pos_embed_max_size", None)
        return places and places * self.side_step

    @property
    def of_one_size(self) -> dict[str, str]:
        """Of those that draw films: controls and guides, and the reference where there is a layer for it."""
        reference = {"reference_latents": BEFORE_IT} if self._has_reference else {}
        return OF_ONE_SIZE | reference if self.films else {}

    @property
    def is_given_whole_films(self) -> bool:
        """Networks that place further tokens join a still and a film."""
        return self.films and self.layout is not None

    @property
    def hears(self) -> bool:
        """LTX-2 draws both."""
        return _is(self.network, "LTXAVModel")

    @property
    def _has_reference(self) -> bool:
        """Whether it has Wan Fun's layer for a reference, which may come as a frame before the others."""
        return getattr(self.network, "ref_conv", None) is not None

    def sequence(self, latent: torch.Size, text: int, tokens: int) -> Sequence | None:
        """The order of so many tokens, for a call on a latent [B, C, (T,) h, w] and so many text tokens; None of any other."""
        layout = self.layout
        if layout is None or (tokens == text and not layout.joint):  # or attention over the text looks like the picture's
            return None
        grid = (ceil(latent[-2] / self.patch), ceil(latent[-1] / self.patch))
        frames = latent[2] if len(latent) == 5 else 1
        padding = -prod(grid) % layout.multiple
        padded = ceil(text / layout.multiple) * layout.multiple
        alone = padded != prod(grid) * frames + padding  # or layers that refine the text look like those that refine the picture
        for before, more in product((padded, *(0,) * alone) if layout.joint else (0,), range(1 + self._has_reference)):
            found = Sequence(before, grid, frames + more, padding)
            if found.length == tokens:
                return found
        return None

    def call_bytes(self, batch: int, height: int, width: int) -> int:
        """Counted from the widest layer's tokens."""
        dtype = self.base.manual_cast_dtype or self.base.get_dtype()
        return TENSORS * _channels(self.network) * dtype.itemsize * batch * ceil(height * width / self.side_step**2)


def layout_of(network: torch.nn.Module) -> Layout | None:
    """By the classes of ComfyUI's networks: their forwards place the tokens."""
    if type(network).__name__ in ("LTXVModel", "LTXAVModel"):
        return Layout(_ltx(network), joint=False, channels=_channels(network))
    if type(network).__name__ == "Anima":
        return Layout(_cosmos(network), joint=False)
    embedder = next((getattr(network, name) for name in ("pe_embedder", "rope_embedder") if hasattr(network, name)), None)
    if embedder is None or not hasattr(embedder, "axes_dim"):
        return None
    axes, theta = tuple(embedder.axes_dim), float(embedder.theta)
    if _is(network, "Flux", "Chroma", "SingleStreamDiT"):
        return Layout(Rotary(axes, theta))
    if _is(network, "QwenImageTransformer2DModel"):
        return Layout(Rotary(axes, theta, centred=True))
    if _is(network, "NextDiT"):
        return Layout(Rotary(axes, theta), multiple=getattr(network, "pad_tokens_multiple", None) or 1)
    if type(network).__name__ in ("WanModel", "VaceWanModel", "CameraWanModel"):  # others of its kin place further tokens
        return Layout(Rotary(axes, theta), joint=False)
    return None


def _is(network: torch.nn.Module, *names: str) -> bool:
    """Whether it is of these classes of the host's; by name, because older hosts lack the younger ones."""
    return any(kind.__name__ in names and kind.__module__.startswith("comfy.ldm.") for kind in type(network).__mro__)


def _cosmos(network: Any) -> Rotary:
    """Anima's positions, those of Cosmos Predict 2."""
    channels = network.model_channels // network.num_heads
    side = channels // 6 * 2
    return Rotary((channels - 2 * side, side, side), THETA * network.pos_embedder.h_ntk_factor, split=True)


def _ltx(network: Any) -> RotaryAcrossHeads:
    """LTX's positions: −1 … 1 for 0 … so many px."""
    channels = _channels(network)
    grid = getattr(network, "freq_grid_generator", None)  # of younger hosts; the host's own rounding counts
    turns = grid(THETA, 3, channels, "cpu") if grid else THETA ** torch.linspace(0, 1, channels // 6) * (pi / 2)
    longest = getattr(network, "positional_embedding_max_pos", (20, 2048, 2048))[-1]
    split = getattr(network, "split_positional_embedding", None) == "split"
    return RotaryAcrossHeads(turns.double() * 2 * network.vae_scale_factors[-1] / longest, channels, split)


def _channels(network: torch.nn.Module) -> int:
    """Of a token; 0 where the network does not say."""
    return next((int(width) for name in WIDTHS if isinstance(width := getattr(network, name, None), int)), 0)


def _patch(network: torch.nn.Module) -> int:
    """Cells of a token's side."""
    patch = next((getattr(network, name) for name in ("patch_size", "patch", "patch_spatial") if hasattr(network, name)), 1)
    return int(patch[-1] if isinstance(patch, tuple | list) else patch or 1)
