"""DemoFusion's windows and lattices, each beside an independent few lines."""

from math import cos, pi

import pytest
import torch
import torch.nn.functional as F
from freescale.freescale_core.rivals import demofusion
from freescale.freescale_core.windows import fixed_views, jittered_views, windows_of
from hypothesis import given
from hypothesis import strategies as st


def test_windows_and_jitter_are_multidiffusions():
    """Of a 2048 × 3072 px picture: 128 cells, stride 64, moved by up to 16 = (128 − 64)/4."""
    plan = windows_of((256, 384), (128, 128))
    assert plan.tops == (0, 64, 128) and plan.lefts == (0, 64, 128, 192, 256) and plan.jitter == (16, 16)
    assert windows_of((100, 256), (128, 128)).size == (100, 128)


@given(st.integers(5, 30), st.integers(5, 30), st.integers(0, 9))
def test_windows_that_agree_give_back_the_picture(noise, h, w, seed):
    """x₀ that depends on nothing but its own cell and the conditions': average and crop undo the cut."""
    plan = windows_of((h, w), (8, 6))
    x, concat = noise(2, 4, h, w), noise(2, 4, h, w, seed=1)
    corners = []

    def denoise(parts, cut, places):
        corners.extend(places)
        assert parts.shape[1:] == (4, *plan.size) and len(parts) == len(places)
        return 3 * parts + cut(concat)

    views = jittered_views(plan, seed)
    assert torch.allclose(demofusion.local_path(x, plan, views, denoise), 3 * x + concat)
    assert corners == [(t, left) for t, _, left, _ in views.tolist() for _ in range(2)]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_the_frames_of_a_clip_stay_beside_each_other(conditions, crops, frames):
    """Rows are condition, crop, frame: what takes "(b t)" apart finds clips, and what takes the conditions apart finds them."""
    names = torch.arange(conditions * frames * crops).reshape(crops, conditions * frames, 1, 1, 1)
    rows = demofusion.joined(list(names), conditions)
    for clip in rows.reshape(conditions * crops, frames):
        assert clip.diff().unique().tolist() in ([1], [])  # the frames of one condition, in order
    for part, (first, last) in zip(rows.chunk(conditions), zip(names[0].chunk(conditions), names[-1].chunk(conditions))):
        assert part[0] == first[0] and part[-1] == last[-1]
    assert torch.equal(demofusion.parted(rows, crops, conditions), names)


def test_windows_are_averaged_by_count():
    """Each window answers with its own number: a cell gets the mean over the windows that hold it."""
    plan = windows_of((12, 8), (8, 8))
    number = iter(range(9))

    def denoise(parts, cut, places):
        return torch.stack([torch.full_like(part, next(number)) for part in parts])

    out = demofusion.local_path(torch.zeros(1, 1, 12, 8), plan, fixed_views(plan), denoise)
    assert out[0, 0, :, 0].tolist() == [0] * 4 + [0.5] * 4 + [1] * 4


def reference_lattices(x, s, deviation, predict):
    """The global path cell by cell: x₀ = x − σ ε(blurred lattice), with a dense kernel."""
    h, w = x.shape[-2:]
    whole = F.pad(x, (-w % s, 0, -h % s, 0))
    axis = torch.exp(-((torch.arange(2 * s - 1, dtype=x.dtype) - s + 1) ** 2) / (2 * deviation**2))
    kernel = torch.outer(axis, axis) / axis.sum() ** 2
    blurred = torch.stack([F.conv2d(one[:, None], kernel[None, None], padding=s - 1)[:, 0] for one in whole])
    blurred = torch.stack([(b - b.mean()) / b.std() * one.std() + one.mean() for b, one in zip(blurred, whole)])
    sigma_epsilon = torch.zeros_like(whole)
    for a in range(s):
        for b in range(s):
            lattice = blurred[:, :, a::s, b::s]
            sigma_epsilon[:, :, a::s, b::s] = lattice - predict(lattice)
    return (whole - sigma_epsilon)[:, :, -h % s :, -w % s :]


@pytest.mark.parametrize(("h", "w", "s", "deviation"), [(8, 8, 2, 1.0), (9, 14, 3, 0.8), (7, 5, 4, 0.2)])
def test_lattices_of_the_blurred_latent(noise, h, w, s, deviation):
    x, concat = noise(2, 4, h, w), noise(2, 4, h, w, seed=1)

    def predict(lattice):
        return 0.5 * lattice + 0.1 * lattice.mean((2, 3), keepdim=True)  # depends on the whole lattice

    def denoise(parts, cut, places):
        assert places is None and cut(concat).shape == parts.shape
        return predict(parts)

    out = demofusion.global_path(x, s, deviation, denoise)
    assert torch.allclose(out, reference_lattices(x, s, deviation, predict), atol=1e-6)


def test_paths_are_mixed_by_c2_and_blurred_by_c3(noise):
    """C = ½ (1 + cos(π (1000 − t)/1000)); at t = 681 it is .7693, so c₃ = .7716."""
    c = 0.5 * (1 + cos(pi * 319 / 1000))
    assert c == pytest.approx(0.7693, abs=1e-4)
    x, plan = noise(1, 4, 16, 16), windows_of((16, 16), (8, 8))

    def denoise(parts, cut, places):
        return torch.ones_like(parts) if places else parts * 0

    out = demofusion.demofusion(x, 681, plan, fixed_views(plan), 2, 0.8, denoise)
    overall = reference_lattices(x, 2, (0.99 * c + 0.01) * 0.8, lambda lattice: lattice * 0)
    assert torch.allclose(out, (1 - c) * torch.ones_like(x) + c * overall, atol=1e-6)


def test_a_stage_ends_with_the_bases_mean_and_deviation(noise):
    x, base = 3 * noise(2, 4, 9, 7) + 5, 0.5 * noise(2, 4, 4, 4, seed=1) - torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1)
    out = demofusion.matched(x, base)
    for a, b, original in zip(out, base, x):
        assert torch.allclose(a.mean(), b.mean()) and torch.allclose(a.std(), b.std())
        assert torch.allclose((a - a.mean()) / a.std(), (original - original.mean()) / original.std())
