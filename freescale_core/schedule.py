"""The cascade's schedule (P §3.1): where a stage restarts and how strongly each step is held to its reference."""

from collections.abc import Callable
from math import cos, floor, pi

import torch
from torch import Tensor

from .noise import TIMESTEPS

PAPER_STEPS = 50  # of the published schedules, t_i = 981 − 20 i


def paper_step(t: float) -> int:
    """The step i of the published 50 that timestep t belongs to: 0 at t = 999 and 981, 49 at t = 1.

    i < 50·p wherever σ is above that of percent p, so τ = 35 ends where `end_percent` 0.7 does, under every sampler
    and schedule; with 50 ddim_uniform steps these are the papers' own steps.
    """
    return floor(PAPER_STEPS * (1 - t / (TIMESTEPS - 1)))


def stage_sigmas(sigmas: Tensor, timestep: Callable[[float], float], denoise: float) -> Tensor:
    """The tail of a full schedule that a stage runs: from its first point with t(σ) ≤ 1000·denoise + ½, t by `timestep`.

    Never stretched: 50 ddim_uniform steps at denoise 0.7 leave the 35 that start at t = 681. Empty only if no point
    qualifies but the final 0.
    """
    late_enough = [timestep(float(sigma)) <= TIMESTEPS * denoise + 0.5 for sigma in sigmas]
    return sigmas[late_enough.index(True) :] if any(late_enough) else sigmas[-1:]


def blend_coefficient(t: float, detail: float | Tensor) -> float | Tensor:
    """c = [½ (1 + cos(π (1000 − t)/1000))]^α: 1 at pure noise, 0 at the end; a larger α = `detail` lets go sooner."""
    return (0.5 * (1 + cos(pi * (TIMESTEPS - t) / TIMESTEPS))) ** detail


def blend(x: Tensor, noised: Tensor, c: float | Tensor) -> Tensor:
    """(1 − c) x + c n: the state [B, C, h, w], pulled to the forward-noised reference n."""
    return torch.lerp(x, noised, c.to(x) if isinstance(c, Tensor) else float(c))
