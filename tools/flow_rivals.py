"""HiFlow and I-Max, which guide a flow transformer's large picture by its native one, after their released code.

HiFlow: Bu et al. 2025 (arXiv 2504.06232). I-Max: Du et al. 2024 (arXiv 2410.07536). Euler's steps on any cfg; patches are shifted by
half of one at every other step. Positions and logits are stretched as by Scale Fusion's global branch: θ by the picture's size, where
theirs is × 10 with no frequency stretched by more than the picture is. Left out: the text repeated over the picture's positions
(I-Max), distilled guidance that rises with the stages, and that the width of the sharpening is drawn (HiFlow).
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import TYPE_CHECKING

import comfy.sample
import comfy.samplers
import families
import torch
import torch.nn.functional as F
from freescale.nodes.host import pictures
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

if TYPE_CHECKING:
    from methods import Work

LATE = 16 / 30, 10 / 30  # of the schedule's steps: in the first large stage, in those after it
STRUCTURE, ACCELERATION = (1.0, 0.25), 0.5  # alphas and beta; both fall to nothing over a stage
BAND, ORDER = 0.2, 4  # of the Butterworth filter: shares of the Nyquist frequency
SHARPENED = 1.0  # px; the code draws it from 0.1 … 2
SHIFT = 2.0  # I-Max's time shift: 6 where the native picture has 3

Step = Callable[[int, Tensor, Tensor, Tensor, Tensor], Tensor]  # number, x, σ, next σ, denoised → the next x


def hiflow(work: Work) -> Tensor:
    """Each stage twice as large: what the model saw of the stage before at the same σ guides structure and acceleration."""
    model, sigmas, times = _stretched(work), _sigmas(work), 1
    seen: dict[float, Tensor] = {}
    latent = _sample(work, work.model, sigmas, work.empty(1)["samples"], _recorded(seen))
    while times < work.times:
        stage, times = min(times.bit_length() - 1, 1), min(2 * times, work.times)
        picture = pictures.resize_image(_decoded(work, latent), *work.size(times)).movedim(-1, 1)
        picture = (2 * picture - gaussian_blur(picture, [3, 3], [SHARPENED] * 2)).movedim(1, -1)
        late = sigmas[-1 - round(LATE[stage] * work.steps) :]
        start = pictures.encode(work.vae, picture, "auto")
        aligned, seen = _aligned(seen, STRUCTURE[stage], len(late) - 1), {}
        latent = _sample(work, model, late, start, _recorded(seen, aligned))
    return _decoded(work, latent)


def imax(work: Work) -> Tensor:
    """From pure noise at the large size at once: the flow's low band is drawn to the native picture, enlarged, ever less."""
    sigmas = _sigmas(work)
    native = work.picture(work.base())
    guide = pictures.encode(work.vae, pictures.resize_image(native, *work.size(work.times)), "auto")
    guide = work.model.model.process_latent_in(guide)
    shifted = SHIFT * sigmas / (1 + (SHIFT - 1) * sigmas)

    def projected(step, x, sigma, after, denoised):
        error = guide.to(denoised) - denoised
        return _euler(x, sigma, after, denoised + (1 + cos(pi * step / work.steps)) / 2 * haar_low(error, step % 2 == 0))

    return _decoded(work, _sample(work, _stretched(work), shifted, work.empty(work.times)["samples"], projected))


def haar_low(x: Tensor, shifted: bool) -> Tensor:
    """The low band of a Haar wavelet [B, C, h, w]: means of 2 × 2 cells, which begin one cell earlier where they are `shifted`."""
    margin = int(shifted)
    low = F.interpolate(F.avg_pool2d(F.pad(x, [margin] * 4), 2), scale_factor=2.0)
    return low[..., margin : margin + x.shape[-2], margin : margin + x.shape[-1]]


def _stretched(work: Work):
    return families.with_scale_fusion(work.model, branches="global only")


def _sigmas(work: Work) -> Tensor:
    return comfy.samplers.calculate_sigmas(work.model.get_model_object("model_sampling"), work.scheduler, work.steps)


def _decoded(work: Work, latent: Tensor) -> Tensor:
    return work.picture({"samples": latent})


def _euler(x: Tensor, sigma: Tensor, after: Tensor, denoised: Tensor) -> Tensor:
    return x + (after - sigma) * (x - denoised) / sigma


def _recorded(seen: dict[float, Tensor], then: Step | None = None) -> Step:
    """A step that keeps what the model saw at its σ."""

    def step(number, x, sigma, after, denoised):
        seen[float(sigma)] = denoised
        return then(number, x, sigma, after, denoised) if then else _euler(x, sigma, after, denoised)

    return step


def _aligned(before: dict[float, Tensor], structure: float, steps: int) -> Step:
    """HiFlow's step, guided by what the stage before saw at the same σ."""
    last: list[Tensor] = []  # the velocity before, and that of the guide

    def step(number, x, sigma, after, denoised):
        left = 1 - number / steps
        guide = F.interpolate(before[float(sigma)], x.shape[-2:], mode="bicubic")
        denoised = denoised + structure * left * butterworth_low(guide - denoised)
        velocity, guiding = (x - denoised) / sigma, (x - guide) / sigma
        if last:
            velocity = velocity + ACCELERATION * left * (last[0] + guiding - last[1] - velocity)
        last[:] = velocity, guiding
        return x + (after - sigma) * velocity

    return step


def butterworth_low(x: Tensor) -> Tensor:
    """The low band by a Butterworth filter [B, C, h, w]."""
    h, w = ((torch.fft.fftfreq(side, 0.5, device=x.device) / BAND) ** 2 for side in x.shape[-2:])
    return torch.fft.ifft2(torch.fft.fft2(x) / (1 + (h[:, None] + w) ** ORDER)).real


def _sample(work: Work, model, sigmas: Tensor, latent: Tensor, step: Step) -> Tensor:
    """The host's sampling by these steps; the patches of a picture larger than the native one are shifted at even steps."""
    moving = latent.shape[-2:] != work.empty(1)["samples"].shape[-2:]

    def function(network, x, sigmas, extra_args=None, callback=None, disable=None):
        for number, (sigma, after) in enumerate(zip(sigmas[:-1], sigmas[1:])):
            margin = int(moving and number % 2 == 0)
            denoised = network(F.pad(x, [margin] * 4), sigma.expand(len(x)), **(extra_args or {}))
            denoised = denoised[..., margin : margin + x.shape[-2], margin : margin + x.shape[-1]]
            x = step(number, x, sigma, after, denoised)
            if callback:
                callback({"x": x, "i": number, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
        return x

    latent = comfy.sample.fix_empty_latent_channels(model, latent)
    noise = comfy.sample.prepare_noise(latent, work.seed)
    prompts = work.positive, work.negative
    sampler = comfy.samplers.KSAMPLER(function)
    return comfy.sample.sample_custom(
        model, noise, work.cfg, sampler, sigmas, *prompts, latent, seed=work.seed, disable_pbar=True
    )
