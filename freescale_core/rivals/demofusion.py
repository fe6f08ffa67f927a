"""DemoFusion (arXiv 2311.16973, a rival): native-size windows of the latent and lattices of all of it, denoised apart and mixed.

`denoise(crops, cut, corners)` is the host's model on n crops of the latent, [B·n, C, h', w']: of each of the `conditions` that
a call's rows are for, in order, every crop, and of every crop the samples, so that the frames of a clip stay beside each other.
`cut` takes the same crops from anything else on the latent's grid; `corners` are the (top, left) of windows in the padded grid,
one for each row.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..blur import gaussian_band
from ..chunks import in_chunks
from ..schedule import blend_coefficient
from ..windows import WindowPlan

Cut = Callable[[Tensor], Tensor]
Denoise = Callable[[Tensor, Cut, list[tuple[int, int]] | None], Tensor]


def demofusion(
    x: Tensor, t: float, plan: WindowPlan, views: np.ndarray, factor: int, deviation: float, denoise: Denoise, conditions: int = 1
) -> Tensor:
    """x₀ = (1 − c₂) local + c₂ global of a noised latent [B, C, h, w] at timestep t.

    c₂ = C = ½ (1 + cos(π (1000 − t)/1000)), and the blur's σ is (.99 C + .01) `deviation`. The scheduler's step is linear in x
    and x₀, so mixing x₀ is mixing the stepped samples, as its code does.
    """
    c = float(blend_coefficient(t, 1.0))
    overall = global_path(x, factor, (0.99 * c + 0.01) * deviation, denoise, conditions)
    return torch.lerp(local_path(x, plan, views, denoise, conditions), overall, c)


def joined(crops: list[Tensor], conditions: int) -> Tensor:
    """n crops [B, …] as the rows [B·n, …] of a call: condition, crop, sample."""
    return torch.stack([crop.unflatten(0, (conditions, -1)) for crop in crops], 1).flatten(0, 2)


def parted(rows: Tensor, count: int, conditions: int) -> Tensor:
    """What a call answers for them, [n, B, …]."""
    return rearrange(rows, "(k n b) c h w -> n (k b) c h w", n=count, k=conditions)


def local_path(x: Tensor, plan: WindowPlan, views: np.ndarray, denoise: Denoise, conditions: int = 1) -> Tensor:
    """MultiDiffusion: x₀ of each window, averaged where they overlap; beyond the picture is zero."""
    (r_h, r_w), (h, w) = plan.jitter, plan.grid
    total = F.pad(torch.zeros_like(x), (r_w, r_w, r_h, r_h))
    count = torch.zeros_like(total[:1, :1])

    def inside(chunk: list) -> Tensor:
        def cut(z: Tensor) -> Tensor:
            padded = F.pad(z, (r_w, r_w, r_h, r_h))
            return joined([padded[..., t:b, left:right] for t, b, left, right in chunk], conditions)

        corners = [(top, left) for top, _, left, _ in chunk for _ in range(len(x) // conditions)]
        return denoise(cut(x), cut, conditions * corners)

    for chunk, out in in_chunks(views.tolist(), inside, plan.size, h * w):
        for (t, b, left, right), window in zip(chunk, parted(out, len(chunk), conditions)):
            total[..., t:b, left:right].add_(window)
            count[..., t:b, left:right].add_(1)
    within = (..., slice(r_h, r_h + h), slice(r_w, r_w + w))
    return total[within] / count[within]


def global_path(x: Tensor, factor: int, deviation: float, denoise: Denoise, conditions: int = 1) -> Tensor:
    """x₀ = x − σ ε, where ε is predicted on each lattice [a::s, b::s] of the blurred latent.

    The prediction x₀' there gives σ ε = blurred − x₀'. The latent is padded with zeros, on top and left, to multiples of s.
    """
    h, w = x.shape[-2:]
    pad = (-w % factor, 0, -h % factor, 0)
    whole = F.pad(x, pad)
    blurred = matched(gaussian_blur(whole, factor, deviation), whole)
    out = torch.empty_like(blurred)
    lattices = [(..., slice(a, None, factor), slice(b, None, factor)) for a in range(factor) for b in range(factor)]
    rows, columns = whole.shape[-2:]
    size = (rows // factor, columns // factor)

    def inside(chunk: list) -> Tensor:
        def take(z: Tensor) -> Tensor:
            return joined([z[lattice] for lattice in chunk], conditions)

        return denoise(take(blurred), lambda z: take(F.pad(z, pad)), None)

    for chunk, result in in_chunks(lattices, inside, size, rows * columns):
        for lattice, x0 in zip(chunk, parted(result, len(chunk), conditions)):
            out[lattice] = x0
    return (whole - blurred + out)[..., pad[2] :, pad[0] :]


def gaussian_blur(x: Tensor, factor: int, deviation: float) -> Tensor:
    """Gaussian of size 2·factor − 1 over [B, C, h, w], zeros beyond the edges."""
    vertical, horizontal = (gaussian_band(length, factor, x, deviation) for length in x.shape[-2:])
    return vertical @ x @ horizontal


def matched(x: Tensor, like: Tensor) -> Tensor:
    """x [B, C, h, w] with the mean and standard deviation that each sample of `like` has."""
    (mean, deviation), (own_mean, own_deviation) = (
        (z.mean((1, 2, 3), keepdim=True), z.std((1, 2, 3), keepdim=True)) for z in (like, x)
    )
    return (x - own_mean) / own_deviation * deviation + mean
