"""What the cascade's stages start from."""

import pytest
import torch
from freescale.nodes.host import pictures


@pytest.fixture(scope="module")
def small(demo):
    """A 128 px picture's latent: what any sampler before the cascade could have made."""
    pixels = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(1))
    return {"samples": demo[3].encode(pictures.resize_image(pixels, 128, 128).clamp(0, 1))}
