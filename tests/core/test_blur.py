"""The broad areas of a picture, which hold its colours."""

import torch
from freescale.freescale_core.blur import BROAD, lowest_band


def test_an_even_picture_stays_and_fine_stripes_vanish():
    even = torch.full((2, 3, 40, 24), 0.7, dtype=torch.float64)
    assert torch.allclose(lowest_band(even), even, rtol=0, atol=1e-12)
    stripes = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(48, 24)
    assert lowest_band(stripes)[12:-12, 12:-12].abs().max() < 1e-4


def test_it_is_a_gaussian_of_what_there_is():
    """Each frame of a film alone, by the definition: a weighted mean of all cells."""
    film = torch.randn(1, 2, 3, 9, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(16.0), indexing="ij")
    weights = torch.exp(-((y - 2) ** 2 + (x - 15) ** 2) / (2 * (9 / BROAD) ** 2)).double()
    expected = (film * weights).sum((-2, -1)) / weights.sum()
    assert torch.allclose(lowest_band(film)[..., 2, 15], expected, rtol=1e-6)
