"""The detail map: α at every pixel (P §3.2). Larger lets a region leave its reference earlier and grow new detail."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

HIGHEST_DETAIL = 20.0  # the reference is let go within a quarter of the schedule; more would hardly differ
MOST_DIRECTLY = 2**27  # products of a map's cells with a kernel; beyond, frequencies are quicker: above a feather of 16 on 1024²


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
    # Whichever is quicker; of each map alone, so that a batch has the same bits.
    convolve = _directly if len(kernel) * mask.shape[1] * mask.shape[2] <= MOST_DIRECTLY else _by_frequencies
    x = rearrange(mask, "b h w -> b 1 h w")
    for axis, pad in ((-2, (0, 0, reach, reach)), (-1, (reach, reach, 0, 0))):
        x = convolve(F.pad(x, pad, mode="replicate"), kernel, axis)
    return rearrange(x, "b 1 h w -> b h w")


def _directly(x: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """x [B, 1, H, W] under a symmetric kernel along an axis, where the kernel lies within x: the time grows with its length."""
    return F.conv2d(x, rearrange(kernel, "k -> 1 1 k 1" if axis == -2 else "k -> 1 1 1 k"))


def _by_frequencies(x: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """The same to about 1e-6, in a time that does not grow with the kernel's length."""
    length = x.shape[axis]
    band = torch.fft.rfft(kernel, length)
    around = torch.fft.irfft(torch.fft.rfft(x, dim=axis) * (band[:, None] if axis == -2 else band), length, dim=axis)
    return around.narrow(axis, len(kernel) - 1, length - len(kernel) + 1)  # what came round from the other end is cut off


def resize_map(alpha: Tensor, h: int, w: int) -> Tensor:
    """α [B, H, W] on a latent's grid, [B, 1, h, w]; antialiased, so that thin strokes fade rather than vanish."""
    x = rearrange(alpha, "b h w -> b 1 h w")
    return F.interpolate(x, (h, w), mode="bilinear", antialias=True)
