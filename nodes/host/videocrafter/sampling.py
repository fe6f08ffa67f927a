"""VideoCrafter2's noise: the data is scaled by s, so that x = √ᾱ s z + √(1 − ᾱ) ε."""

from typing import Any

import comfy.model_sampling
import numpy as np
import torch
from torch import Tensor

from ....freescale_core.noise import SD_SIGMAS, TIMESTEPS, data_scale


class VideoCrafterSampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """In y = x / (√ᾱ s) it is z + σ′ ε with σ′ = σ / s, and Euler is its DDIM. The network's input differs."""

    scales: Tensor
    log_sigmas: Tensor

    def __init__(self, model_config: Any = None):
        super().__init__(model_config)
        scales = data_scale(np.arange(TIMESTEPS))
        self.set_sigmas(torch.from_numpy(SD_SIGMAS / scales))
        self.register_buffer("scales", torch.from_numpy(scales).float())

    def calculate_input(self, sigma: Tensor, noise: Tensor) -> Tensor:
        """√ᾱ s y, with s interpolated in log σ′ between timesteps."""
        level = sigma.log().to(self.log_sigmas)
        above = torch.searchsorted(self.log_sigmas, level).clamp(1, TIMESTEPS - 1)
        low, high = self.log_sigmas[above - 1], self.log_sigmas[above]
        scale = torch.lerp(self.scales[above - 1], self.scales[above], ((level - low) / (high - low)).clamp(0, 1)).to(sigma)
        factor = scale / (1 + (sigma * scale) ** 2).sqrt()
        return noise * factor.reshape(-1, *[1] * (noise.ndim - 1))
