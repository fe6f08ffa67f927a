"""How a MODEL's pictures are noised, as its own model_sampling says."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....freescale_core.noise import timestep, variance_exploding
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
    """z + σ ε, over a table of noise levels: eps-, v- and EDM-predicting models."""

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


def is_variance_exploding(sampling: Any) -> bool:
    """Whether the host noises as z + σ ε, asked by example: flow matching would answer 4."""
    z, noise, sigma = torch.tensor([[3.0]]), torch.tensor([[5.0]]), torch.tensor([0.5])
    return float(sampling.noise_scaling(sigma, noise, z)) == 5.5
