"""The detail map: α at every pixel (P §3.2). Larger lets a region leave its reference earlier and grow new detail."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

HIGHEST_DETAIL = 20.0  # the reference is let go within a quarter of the schedule; more would hardly differ


def detail_map(mask: Tensor, inside: float, outside: float) -> Tensor:
    """α [B, H, W] from a mask in 0 … 1: inside where it is 1, outside where 0, in between between."""
    return outside + (inside - outside) * mask


def feathered(mask: Tensor, deviation: float) -> Tensor:
    """A map [B, H, W] under a Gaussian of that standard deviation in pixels; it goes on beyond its edges."""
    reach = round(3 * deviation)
    if not reach:
        return mask
    offsets = torch.arange(-reach, reach + 1, dtype=mask.dtype, device=mask.device)
    kernel = torch.exp(-((offsets / deviation) ** 2) / 2)
    kernel = kernel / kernel.sum()
    x = rearrange(mask, "b h w -> b 1 h w")
    for shape, pad in (("k -> 1 1 k 1", (0, 0, reach, reach)), ("k -> 1 1 1 k", (reach, reach, 0, 0))):
        x = F.conv2d(F.pad(x, pad, mode="replicate"), rearrange(kernel, shape))
    return rearrange(x, "b 1 h w -> b h w")


def resize_map(alpha: Tensor, h: int, w: int) -> Tensor:
    """α [B, H, W] on a latent's grid, [B, 1, h, w]; antialiased, so that thin strokes fade rather than vanish."""
    x = rearrange(alpha, "b h w -> b 1 h w")
    return F.interpolate(x, (h, w), mode="bilinear", antialias=True)
