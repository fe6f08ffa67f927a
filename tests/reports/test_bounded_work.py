"""Work is bounded by what is needed: no mask, painting or feather that a workflow brings can block a queue or an editor."""

import time

import pytest
import torch
import torch.nn.functional as F
from freescale.freescale_core.detail import MOST_DIRECTLY, feathered
from freescale.nodes.region.painting import LARGEST_SIDE
from freescale.nodes.region.region_detail import RegionDetailMask


def blocks(height: int, width: int, seed: int = 1) -> torch.Tensor:
    """A mask [1, H, W] with edges everywhere."""
    squares = torch.rand(1, 1, height // 64 + 1, width // 64 + 1, generator=torch.Generator().manual_seed(seed)) > 0.5
    return F.interpolate(squares.float(), scale_factor=64)[:, 0, :height, :width]


def region(feather: float, **wired):
    """α, mask and overlay of Region Detail."""
    return RegionDetailMask.execute(regions="", detail_inside=3.0, detail_outside=0.5, feather=feather, **wired).args


def exact(masks: torch.Tensor, deviation: float) -> torch.Tensor:
    """Maps under the Gaussian, cut off at three deviations, as a sum over every cell and what is repeated beyond the edges."""

    def along(length: int) -> torch.Tensor:
        reach = round(3 * deviation)
        offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
        sources = (torch.arange(length)[:, None] + offsets.long()).clamp(0, length - 1)
        weights = torch.exp(-((offsets / deviation) ** 2) / 2).expand(length, -1)
        return torch.zeros(length, length, dtype=torch.float64).scatter_add_(1, sources, weights / weights[:1].sum())

    return along(masks.shape[1]) @ masks.double() @ along(masks.shape[2]).T


@pytest.mark.parametrize("feather", [0.0, 3.0, 15.0, 64.0, 256.0])
def test_a_large_mask_takes_seconds_at_any_feather(feather):
    """ComfyUI_essentials#20: "it takes several minutes to compute, depending on the blur amount". Here 31 s at 2048² and 256 px."""
    mask, image = blocks(4096, 4096), torch.zeros(1, 4096, 4096, 3)
    started = time.process_time()
    alpha, soft, overlay = region(feather, mask=mask, image=image)
    taken = time.process_time() - started
    print(f"a mask of 4096² with a feather of {feather:.0f} px: {taken:.1f} s")
    assert taken < 15  # 4 s on an idle machine
    assert alpha.shape == (1, LARGEST_SIDE, LARGEST_SIDE) and soft.shape == (1, 4096, 4096) and overlay.shape == image.shape


@pytest.mark.parametrize(("height", "width", "deviation"), [(1500, 900, 40.0), (700, 1300, 256.0), (2048, 96, 150.0)])
def test_a_wide_feather_is_the_same_gaussian(height, width, deviation):
    """What is quicker is no other feather: to a hundred thousandth, in the middle and at the edges, for each of a batch."""
    assert round(6 * deviation) * height * width > MOST_DIRECTLY / 10
    masks = torch.cat([blocks(height, width, seed) for seed in (1, 2)])
    quick = feathered(masks, deviation)
    assert (quick - exact(masks, deviation)).abs().max() < 1e-5
    assert torch.equal(quick[1:], feathered(masks[1:], deviation))


def test_a_crisp_mask_stays_crisp_at_every_size():
    """The map is as fine as is of use, but the mask goes on to other nodes as it came."""
    mask = blocks(2304, 4096)
    alpha, soft, _ = region(0.0, mask=mask)
    assert torch.equal(soft, mask) and alpha.shape == (1, 1152, 2048)
    small = blocks(300, 512)
    alpha, soft, _ = region(0.0, mask=small)
    assert torch.equal(soft, small) and torch.equal(alpha, 0.5 + 2.5 * small)
