"""What the tests of the rivals' formulas work on."""

import pytest
import torch


@pytest.fixture(scope="session")
def noise():
    """noise(shape…, seed=0): the same numbers on every call."""

    def drawn(*shape, seed=0):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    return drawn
