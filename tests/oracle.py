"""FreeScale written the straightforward way, from the paper's formulas: what the tests and the bench compare with."""

from math import cos, pi

import torch
import torch.nn.functional as F
from einops import rearrange


def attention(q, k, v, heads):
    """Multi-head attention of [B, n, C] tokens."""
    q, k, v = (rearrange(x, "b n (h d) -> b h n d", h=heads) for x in (q, k, v))
    return rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)")


def self_attention(x, weights, heads):
    """Projections, attention and output projection of one layer's tokens [B, n, C]."""
    q, k, v = (x @ weights[name].T for name in ("to_q", "to_k", "to_v"))
    return out(attention(q, k, v, heads), weights)


def out(x, weights):
    """The output projection."""
    return F.linear(x, weights["to_out"], weights["to_out_bias"])


def scale_fusion_layer(x, weights, heads, grid, jitter, views, factor, blur="hwd", strides=None):
    """One whole layer window by window, each branch through the whole layer, each blurred by a dense kernel."""
    (h, w), size = grid, 2 * factor - 1
    image = rearrange(x, "b (h w) c -> b c h w", h=h)
    padded = F.pad(image, [jitter[1]] * 2 + [jitter[0]] * 2)
    total, count = torch.zeros_like(padded), torch.zeros_like(padded)
    for t, b, left, r in views.tolist():
        window = rearrange(padded[:, :, t:b, left:r], "b c h w -> b (h w) c")
        result = self_attention(window, weights, heads)
        total[:, :, t:b, left:r] += rearrange(result, "b (h w) c -> b c h w", h=b - t)
        count[:, :, t:b, left:r] += 1
    local = (total / count)[:, :, jitter[0] : jitter[0] + h, jitter[1] : jitter[1] + w]
    if strides is None:
        overall = rearrange(self_attention(x, weights, heads), "b (h w) c -> b c h w", h=h)
    else:
        overall = torch.zeros_like(image)
        for a in range(strides[0]):
            for b in range(strides[1]):
                part = image[:, :, a :: strides[0], b :: strides[1]]
                result = self_attention(rearrange(part, "b c h w -> b (h w) c"), weights, heads)
                overall[:, :, a :: strides[0], b :: strides[1]] = rearrange(result, "b (h w) c -> b c h w", h=part.shape[2])
    fused = dense_blur(local, size, blur) + overall - dense_blur(overall, size, blur)
    return rearrange(fused, "b c h w -> b (h w) c")


def dense_blur(x, size, axes):
    """Gaussian, σ = 1, zero padding, as one dense kernel over (h, w) or (h, w, feature): x [B, C, h, w]."""
    g = torch.exp(-((torch.arange(size, dtype=x.dtype, device=x.device) - size // 2) ** 2) / 2)
    volume = rearrange(x, "b c h w -> b 1 h w c")
    kernel = torch.einsum("i,j,k->ijk", g, g, g if axes == "hwd" else g.new_ones(1))
    padding = (size // 2, size // 2, size // 2 if axes == "hwd" else 0)
    return rearrange(F.conv3d(volume, kernel[None, None] / kernel.sum(), padding=padding), "b 1 h w c -> b c h w")


def cascade_stage(z, noise, denoiser, alphas_cumprod, steps=50, restart=0.3, alpha=2.0):
    """The released loop of one stage: leading timesteps with offset 1, Euler on x = z + σ ε, a blend before each step.

    `denoiser(x, sigma)` predicts z; `alpha` is C's cosine_scale.
    """
    stride = len(alphas_cumprod) // steps
    timesteps = [i * stride + 1 for i in range(steps)][::-1]
    sigma_of = [float(((1 - alphas_cumprod[t]) / alphas_cumprod[t]) ** 0.5) for t in timesteps] + [0.0]
    first = int(restart * steps)
    x = z + sigma_of[first] * noise
    for i in range(first, steps):
        c = (0.5 * (1 + cos(pi * (1000 - timesteps[i]) / 1000))) ** alpha
        x = (1 - c) * x + c * (z + sigma_of[i] * noise)
        derivative = (x - denoiser(x, sigma_of[i])) / sigma_of[i]
        x = x + derivative * (sigma_of[i + 1] - sigma_of[i])
    return x
