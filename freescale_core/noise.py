"""Laws of noise: how a latent z and noise ε become the state at σ, and which training timestep σ belongs to."""

import numpy as np
from torch import Tensor

TIMESTEPS = 1000
_BETAS = np.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS) ** 2
SD_SIGMAS = np.sqrt(1 / np.cumprod(1 - _BETAS) - 1)  # σ of each training timestep of SD and SDXL


def variance_exploding(z: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """z + σ ε: the state [B, C, h, w] of eps-, v- and EDM-predicting models (P §3.1)."""
    return z + sigma * noise


def timestep(sigma: float, table: np.ndarray) -> float:
    """Training timestep 0 … 999 of a noise level, interpolated in log σ over the model's ascending σ table.

    A distilled model's shorter table holds every n-th timestep, the last one being 999.
    """
    if sigma <= 0:
        return 0.0
    entry = float(np.interp(np.log(sigma), np.log(table), np.arange(len(table))))
    return (entry + 1) * TIMESTEPS / len(table) - 1


def sigma_at(t: float) -> float:
    """σ of a timestep 0 … 999 of SD and SDXL, interpolated in log σ."""
    return float(np.exp(np.interp(t, np.arange(TIMESTEPS), np.log(SD_SIGMAS))))


def data_scale(t: np.ndarray) -> np.ndarray:
    """s: VideoCrafter2's data in x = √ᾱ s z + √(1 − ᾱ) ε at timesteps 0 … 999: linear from 1 to 0.7 at 399, then constant."""
    return 1 - 0.3 * np.minimum(t, 399) / 399
