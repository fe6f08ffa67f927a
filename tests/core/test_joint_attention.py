"""Windows over joint tokens, whatever the draw."""

import pytest
import torch
from freescale.freescale_core.joint_attention import Sequence, Tokens, block_attention, tapered_attention
from freescale.freescale_core.rotary import Rotary
from freescale.freescale_core.windows import inner_corners, windows_of

GRID, WINDOW = (11, 14), (6, 7)


@pytest.mark.parametrize("key", [None, 0, 1, 2**128 - 1])
def test_a_constant_picture_stays_constant_at_the_borders(key):
    """No key is a zero beyond the edge: every window lies inside."""
    sequence, rotary = Sequence(3, GRID), Rotary((4, 6, 6), 100.0)
    q, k = (torch.randn(1, 2, sequence.length, 16, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    v = torch.ones_like(q)

    def attend(q, k, v, mask):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    tokens = Tokens(q, k, v, None, sequence, rotary, WINDOW, 0, attend)
    assert torch.allclose(block_attention(tokens, (1, 2)), v)
    corners = inner_corners(windows_of(GRID, WINDOW), key)
    assert (corners >= 0).all() and (corners + WINDOW <= GRID).all()
    assert torch.allclose(tapered_attention(tokens, corners), v[:, :, sequence.picture])
