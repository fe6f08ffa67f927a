"""How a MODEL's pictures are noised, as its own model_sampling says."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import comfy.model_sampling
import numpy as np
import torch
from torch import Tensor

from ....freescale_core.noise import SD_SIGMAS, TIMESTEPS, sigma_at, timestep, variance_exploding
from ....freescale_core.schedule import paper_step


@dataclass(frozen=True)
class Noise(ABC):
    """A law of noise."""

    sampling: Any  # the host's model_sampling

    @abstractmethod
    def noised(self, z: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
        """The state at σ of a latent z under noise ε."""

    @abstractmethod
    def timestep(self, sigma: float) -> float:
        """Training timestep 0 … 999 of a noise level."""

    def step(self, sigma: float) -> int:
        """The step of the papers' 50 that a noise level belongs to."""
        return paper_step(self.timestep(sigma))

    def sigma(self, percent: float) -> float:
        """σ at a part of the sampling, 0 … 1."""
        return self.sampling.percent_to_sigma(percent)


class VarianceExploding(Noise):
    """z + σ ε, over a table of noise levels: eps- and v-predicting models."""

    @cached_property
    def table(self) -> np.ndarray:
        """σ at each training timestep, ascending."""
        return self.sampling.sigmas.detach().cpu().double().numpy()

    def noised(self, z: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
        """z + σ ε."""
        return variance_exploding(z, noise, sigma)

    def timestep(self, sigma: float) -> float:
        """Interpolated in log σ."""
        return timestep(sigma, self.table)


class Continuous(VarianceExploding):
    """z + σ ε, over a range of noise levels of its own, without timesteps: EDM models, such as SVD's σ of 0.002 to 700.

    A level has the timestep that SD and SDXL have it at. So denoise, the blend and the methods' steps mean the same noise for
    every model, whatever the range: denoise 0.7 starts below σ = 3.34, at 3.1 if there is a step as in SD's 50.
    """

    table = SD_SIGMAS

    def sigma(self, percent: float) -> float:
        """σ of the timestep that far into SD's sampling; ∞ and 0 at the ends."""
        if 0 < percent < 1:
            return sigma_at((TIMESTEPS - 1) * (1 - percent))
        return inf if percent <= 0 else 0.0


class Flow(Noise):
    """(1 − σ) z + σ ε, with t = 1000 σ whatever shift has made σ of: rectified-flow models."""

    def noised(self, z: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
        """The host's own: some of its models scale ε."""
        return self.sampling.noise_scaling(torch.as_tensor(sigma), noise, z)

    def timestep(self, sigma: float) -> float:
        """1000 σ."""
        return TIMESTEPS * sigma


def law_of(sampling: Any) -> type[Noise] | None:
    """How the host noises, asked by example: what is left of z at σ = ½."""
    left = float(sampling.noise_scaling(torch.tensor([0.5]), torch.tensor([[0.0]]), torch.tensor([[3.0]]))) / 3
    continuous = isinstance(sampling, comfy.model_sampling.ModelSamplingContinuousEDM)
    return {1.0: Continuous if continuous else VarianceExploding, 0.5: Flow}.get(left)
