"""Pictures and latents: decode, resize and encode the way a cascade stage does (P §3.1)."""

from collections.abc import Callable
from typing import Any

import comfy.model_management
import torch
import torch.nn.functional as F
from comfy_api.latest import ui
from einops import rearrange

TILE, OVERLAP = 64, 16  # latent cells
LARGEST_PREVIEW = 2048  # px


def decode(vae: Any, samples: torch.Tensor, tiling: str) -> torch.Tensor:
    """Latent [B, C, (T,) h, w] → pictures [B, H, W, 3], of films frame after frame; `tiling` is auto, always or never."""
    if _tiled(tiling, vae.memory_used_decode, vae, samples.shape[1:]):
        image = vae.decode_tiled(samples, tile_x=TILE, tile_y=TILE, overlap=OVERLAP)
    else:
        image = vae.decode(samples)
    return image.flatten(0, -4)


def encode(vae: Any, image: torch.Tensor, tiling: str, frames: int = 1) -> torch.Tensor:
    """Pictures [B, H, W, 3] → latent [B, C, (T,) h, w]; every so many `frames` of them are a film."""
    has_frames = getattr(vae, "latent_dim", 2) == 3
    if has_frames and len(image) > frames:  # a VAE of films takes all that it gets for one
        return torch.cat([encode(vae, film, tiling, frames) for film in image.split(frames)])
    _, height, width, channels = image.shape
    if _tiled(tiling, vae.memory_used_encode, vae, (channels, *(frames,) * has_frames, height, width)):
        cell = vae.spacial_compression_encode()  # px
        return vae.encode_tiled(image, tile_x=TILE * cell, tile_y=TILE * cell, overlap=OVERLAP * cell)
    return vae.encode(image)


def _tiled(tiling: str, memory_used: Callable, vae: Any, shape: tuple[int, ...]) -> bool:
    """Auto tiles a picture that could not fit in the device; ComfyUI itself tiles what does not fit at the moment."""
    if tiling != "auto":
        return tiling == "always"
    return memory_used((1, *shape), vae.vae_dtype) > comfy.model_management.get_total_memory(vae.device)


def resize_image(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Bicubic, without antialiasing and without clamping: [B, H, W, 3]."""
    x = rearrange(image[..., :3], "b h w c -> b c h w")
    return rearrange(F.interpolate(x, (height, width), mode="bicubic"), "b c h w -> b h w c")


def middle(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The largest part around the middle of pictures [B, H, W, 3] that has the aspect of height × width."""
    h, w = image.shape[1:3]
    own = min(h, round(w * height / width)), min(w, round(h * width / height))
    top, left = (h - own[0]) // 2, (w - own[1]) // 2
    return image[:, top : top + own[0], left : left + own[1]]


def resize_latent(samples: torch.Tensor, h: int, w: int) -> torch.Tensor:
    """Bicubic in latent space, to h × w cells (the paper's ablation for images, its choice for video): [B, C, (T,) h, w]."""
    resized = F.interpolate(samples.flatten(0, -3)[:, None], (h, w), mode="bicubic")
    return resized.reshape(*samples.shape[:-2], h, w)


def preview(image: torch.Tensor | None) -> list[dict]:
    """The first of the pictures [B, H, W, 3], saved in ComfyUI's temp folder for the web client; none for None."""
    if image is None:
        return []
    x = rearrange(image[:1, ..., :3].float().cpu(), "b h w c -> b c h w")
    scale = LARGEST_PREVIEW / max(x.shape[-2:])
    if scale < 1:
        x = F.interpolate(x, scale_factor=scale, mode="bilinear", antialias=True)
    return previews(rearrange(x, "b c h w -> b h w c"))


def previews(image: torch.Tensor) -> list[dict]:
    """Every one of the pictures [B, H, W, 3], at its full size, saved in ComfyUI's temp folder for the web client."""
    return ui.PreviewImage(image[..., :3].float()).as_dict()["images"]
