"""FouriScale's low pass and its rows, each beside an independent few lines or values worked out by hand."""

from math import ceil

import pytest
import torch
import torch.nn.functional as F
from freescale.freescale_core.rivals import fouriscale
from hypothesis import given
from hypothesis import strategies as st


def test_low_pass_by_hand():
    """F = 16, q = 2, v = .6: n = 8, n/q + 1 = 5. Strong R = 2: 1 + .2 (5 − j); weak R = (2 − 1)·16//4 = 4: 1 + .1 (5 − j)."""
    strong = [1, 1, 1, 1, 1, 1, 0.8, 0.6]
    weak = [1, 1, 1, 1, 1, 1, 0.9, 0.8]
    for half, is_weak in ((strong, False), (weak, True)):
        mask = fouriscale.low_pass_mask((16, 16), 2, is_weak, 0.6)
        expected = torch.tensor(half + half[::-1])  # 0 … 7, −8 … −1 in the FFT's order
        assert torch.allclose(mask, torch.outer(expected, expected))
    assert torch.equal(fouriscale.low_pass_mask((16, 8), 1, True, 0.0), torch.ones(16, 8))  # R = 0
    half = [1, 1, 1, 1, 0.5, 0, 0, 0]  # q = 4, v = 0: 1 + ½ (3 − j)
    assert torch.allclose(fouriscale.low_pass_mask((4, 16), 4, False, 0.0)[0], torch.tensor(half + half[::-1]))


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize("q", [1.0, 1.4, 2.0, 4.0])
@pytest.mark.parametrize("size", [(64, 32), (16, 48)])
def test_low_pass_is_the_shifted_mirrored_one(noise, q, weak, size):
    """The authors' layout: half an axis, its mirror image before it, times the shifted FFT."""

    def half(length):
        taper = (q - 1) * length // (2 * q) if weak else max(length // 8, 1)
        kept = [1 + (1 - 0.6) / taper * (length // 2 / q + 1 - j) if taper else 1.0 for j in range(length // 2)]
        return [min(max(value, 0.6), 1) for value in kept]

    vertical, horizontal = (torch.tensor(half(n)[::-1] + half(n)) for n in size)
    x = noise(2, 3, *size).float()
    spectrum = torch.fft.fftshift(torch.fft.fftn(x, dim=(-2, -1)), dim=(-2, -1)) * torch.outer(vertical, horizontal)
    expected = torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=(-2, -1)), dim=(-2, -1)).real
    assert torch.allclose(fouriscale.low_passed(x, size, q, weak, 0.6), expected, atol=1e-5)


@given(st.integers(1, 40), st.floats(1, 8), st.booleans(), st.sampled_from([0.0, 0.6]))
def test_low_pass_keeps_the_mean_and_never_amplifies(length, q, weak, lowest):
    mask = fouriscale.low_pass_mask((length, length), q, weak, lowest)
    assert mask.shape == (length, length) and mask[0, 0] == 1
    assert mask.min() >= lowest**2 - 1e-6 and mask.max() <= 1


def test_low_pass_pads_to_the_right_and_below(noise):
    x = noise(1, 2, 6, 10).float()
    padded = torch.zeros(1, 2, 8, 12)
    padded[..., :6, :10] = x
    expected = fouriscale.low_passed(padded, (8, 12), 2.0, False, 0.0)[..., :6, :10]
    assert torch.equal(fouriscale.low_passed(x, (8, 12), 2.0, False, 0.0), expected)
    half = fouriscale.low_passed(x.to(torch.bfloat16), (8, 12), 2.0, False, 0.0)
    assert half.dtype == torch.bfloat16


def test_the_dilation_falls_from_20_to_35():
    values = [fouriscale.dilation_at(4, step, 20, 35) for step in (0, 19, 20, 25, 34)]
    assert values == pytest.approx([4, 4, 4, 3, 1.2])
    assert fouriscale.dilation_at(2, 5, 10, 10) == 2


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_strong_rows_and_weak_rows(noise, count, stride):
    """SDXL: v = .6, the weak rows dilated by ⌈d/1.5⌉; SD 1.5: v = 0, both by d. The filter knows d/stride."""
    reach, d = fouriscale.REACH[count], 3.4
    x, weight, bias = noise(3, 3, 16, 16).float(), noise(5, 3, 3, 3, seed=1).float(), noise(5, seed=2).float()
    out = fouriscale.Guided(d, 2, reach, True, (1.0, 1.0))(x, weight, bias, (stride, stride))
    q, value = d / stride, {3: 0.6, 4: 0.0}[count]
    strong, weak = (
        fouriscale.low_passed(x[rows], (16, 16), q, is_weak, value) for rows, is_weak in ((slice(2), False), (slice(2, 3), True))
    )
    wide, narrow = ceil(d), {3: 3, 4: 4}[count]
    expected = [F.conv2d(strong, weight, bias, stride, wide, wide), F.conv2d(weak, weight, bias, stride, narrow, narrow)]
    assert torch.allclose(out, torch.cat(expected), atol=1e-5)
    plain = fouriscale.Guided(d, 3, reach, False, (1.0, 1.0))(x, weight, bias, (stride, stride))  # an upsampler
    assert torch.equal(plain, F.conv2d(x, weight, bias, stride, wide, wide))
