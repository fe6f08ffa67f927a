"""The detail map: values, soft edges, sizes."""

import pytest
import torch
from freescale.freescale_core.detail import detail_map, feathered, resize_map
from hypothesis import given
from hypothesis import strategies as st


def half(h=32, w=48):
    mask = torch.zeros(1, h, w)
    mask[..., w // 2 :] = 1
    return mask


def test_hard_edge():
    alpha = detail_map(half(), 3.0, 0.5)
    assert alpha.shape == (1, 32, 48)
    assert (alpha[..., :24] == 0.5).all() and (alpha[..., 24:] == 3.0).all()
    grey = detail_map(torch.full((2, 4, 4), 0.25), 3.0, 0.5)
    assert torch.allclose(grey, torch.tensor(0.5 + 0.25 * 2.5))


@given(st.floats(0, 12), st.floats(0, 20), st.floats(0, 20))
def test_alpha_stays_between_its_two_values(feather, inside, outside):
    alpha = feathered(detail_map(half(), inside, outside), feather)
    assert alpha.min() >= min(inside, outside) - 1e-4 and alpha.max() <= max(inside, outside) + 1e-4


@pytest.mark.parametrize("feather", [0.1, 1.0, 5.0, 40.0])
def test_feather_keeps_uniform_masks_even_at_the_edges(feather):
    for value in (0.0, 0.3, 1.0):
        assert torch.allclose(feathered(torch.full((1, 9, 70), value), feather), torch.tensor(value), atol=1e-5)


def test_feather_is_a_gaussian_of_that_deviation():
    profile = feathered(half(8, 200), 10.0)[0, 4]
    assert (profile.diff() >= -1e-6).all()
    assert profile[99] + profile[100] == pytest.approx(1, abs=1e-5)  # symmetric about the edge, between 99 and 100
    assert profile[109].item() == pytest.approx(0.829, abs=5e-3)  # Φ(0.95): one deviation in, within the 3σ cut
    tall = feathered(half(8, 200).mT, 10.0)[0, :, 4]
    assert torch.allclose(tall, profile, atol=1e-6)  # the same on both axes


def test_resize():
    alpha = detail_map(half(64, 96), 3.0, 0.5)
    small = resize_map(alpha, 8, 12)
    assert small.shape == (1, 1, 8, 12)
    assert torch.allclose(small[..., :5], torch.tensor(0.5)) and torch.allclose(small[..., 7:], torch.tensor(3.0))
    assert torch.allclose(resize_map(torch.full((3, 50, 30), 1.7), 11, 7), torch.tensor(1.7), atol=1e-6)


def test_a_thin_stroke_fades_rather_than_vanishes():
    alpha = torch.zeros(1, 256, 256)
    alpha[:, :, 3] = 1.0  # between the sampling points of a nearest-neighbour resize
    small = resize_map(alpha, 32, 32)
    assert small.sum(dim=-1).mean() == pytest.approx(1 / 8, abs=0.02)
