"""How a MODEL's pictures are noised, as its own model_sampling says."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....freescale_core.noise import TIMESTEPS, timestep, variance_exploding
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
    return {1.0: VarianceExploding, 0.5: Flow}.get(left)
