"""HiDiffusion's ranges, windows and pooling, each beside an independent few lines."""

import pytest
import torch
import torch.nn.functional as F
from freescale.freescale_core.rivals import hidiffusion


def test_hidiffusions_ranges():
    """SDXL 2×: the stride until 8, the pool from 8 to 20 of 50; 4× and SD 1.5 as released."""
    ranges = {(count, factor): hidiffusion.shrinking(count, factor) for count in (3, 4) for factor in (2, 3, 4, 8)}
    assert ranges[3, 2] == ranges[3, 3] == hidiffusion.Shrinking(8, range(8, 20))
    assert ranges[3, 4] == ranges[3, 8] == hidiffusion.Shrinking(15, range(0, 35))
    assert ranges[4, 2] == hidiffusion.Shrinking(20, range(0)) and ranges[4, 4] == hidiffusion.Shrinking(35, range(0, 15))


def attend(q, k, v, grid):
    assert q.shape[1] == grid[0] * grid[1]
    return F.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("grid", [(8, 16), (12, 10)])
def test_windows_attend_to_themselves(noise, grid, quarters):
    h, w = grid
    q, k, v = (noise(2, h * w, 6, seed=seed) for seed in range(3))
    out = hidiffusion.windowed_attention(q, k, v, grid, quarters, attend).unflatten(1, grid)
    down, right = h // 2 // 4 * quarters, w // 2 // 4 * quarters
    q, k, v = (x.unflatten(1, grid) for x in (q, k, v))
    for top in (0, h // 2):
        for left in (0, w // 2):
            rows = [(top + down + i) % h for i in range(h // 2)]
            columns = [(left + right + i) % w for i in range(w // 2)]
            window = [x[:, rows][:, :, columns].flatten(1, 2) for x in (q, k, v)]
            expected = F.scaled_dot_product_attention(*window).unflatten(1, (h // 2, w // 2))
            assert torch.allclose(out[:, rows][:, :, columns], expected)


def test_odd_grids_are_stretched_by_one(noise):
    q, k, v = (noise(1, 7 * 8, 6, seed=seed) for seed in range(3))
    wide = [F.interpolate(x.unflatten(1, (7, 8)).movedim(-1, 1), (8, 8), mode="bicubic") for x in (q, k, v)]
    even = hidiffusion.windowed_attention(*(x.movedim(1, -1).flatten(1, 2) for x in wide), (8, 8), 1, attend)
    expected = F.interpolate(even.unflatten(1, (8, 8)).movedim(-1, 1), (7, 8), mode="bicubic").movedim(1, -1).flatten(1, 2)
    assert torch.allclose(hidiffusion.windowed_attention(q, k, v, (7, 8), 1, attend), expected)


def test_pooling_rounds_up(noise):
    x = noise(1, 2, 5, 8)
    assert hidiffusion.pooled(x, 0) is x
    assert hidiffusion.pooled(x).shape == (1, 2, 3, 4)
    assert torch.allclose(hidiffusion.pooled(x)[..., 0, 0], x[..., :2, :2].mean((2, 3)))
    assert torch.allclose(hidiffusion.pooled(x, 2), hidiffusion.pooled(hidiffusion.pooled(x)))
