"""The rivals' defining formulas, each beside an independent few lines or values worked out by hand."""

from math import ceil, cos, pi

import pytest
import torch
import torch.nn.functional as F
from freescale.freescale_core import demofusion, fouriscale, hidiffusion, scalecrafter
from freescale.freescale_core.dilation import Layer, levels
from freescale.freescale_core.geometry import fixed_views, jittered_views, windows_of
from freescale.freescale_core.schedule import paper_step
from hypothesis import given
from hypothesis import strategies as st

XL_OPS = {"input": "rrdrrdrr", "output": "rrurrurrr"}
V1_OPS = {"input": "rrdrrdrrdrr", "output": "rrurrurrurrr"}


def convolutions(blocks):
    """3×3 convolutions of a U-Net whose blocks are ResBlocks, some with an upsampler, and downsamplers."""
    names = [f"middle_block.{i}.{part}" for i in (0, 2) for part in ("in_layers.2", "out_layers.3")]
    for section, first in (("input", 1), ("output", 0)):
        for index, kind in enumerate(blocks[section], first):
            place = f"{section}_blocks.{index}"
            parts = ["0.op"] if kind == "d" else ["0.in_layers.2", "0.out_layers.3"] + ["2.conv"] * (kind == "u")
            names += [f"{place}.{part}" for part in parts]
    return names


def numbers(names):
    return sorted({Layer(name).index for name in names})


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------- what they share


def test_levels_are_numbered_as_in_diffusers():
    xl = levels(convolutions(XL_OPS))
    assert {level: numbers(names) for level, names in xl.items()} == {
        ("down", 0): [1, 2, 3], ("down", 1): [4, 5, 6], ("down", 2): [7, 8], ("middle", 0): [0],
        ("up", 0): [0, 1, 2], ("up", 1): [3, 4, 5], ("up", 2): [6, 7, 8],
    }  # fmt: skip
    assert "input_blocks.6.0.op" in xl["down", 1] and "output_blocks.2.2.conv" in xl["up", 0]
    v1 = levels(convolutions(V1_OPS))
    assert numbers(v1["down", 3]) == [10, 11] and numbers(v1["up", 3]) == [9, 10, 11]


def test_steps_are_those_of_fifty_ddim_ones():
    """t_i = 981 − 20 i is step i, and i < 50 p exactly where t is above that of percent p (HOST: 999 (1 − p))."""
    assert [paper_step(981 - 20 * i) for i in range(50)] == list(range(50))
    assert paper_step(999) == 0 and paper_step(0) == 50
    for percent in (0.16, 0.3, 0.4, 0.6, 0.7):
        border = 999 * (1 - percent)
        assert paper_step(border + 0.01) < 50 * percent <= paper_step(border - 0.01)


# ---------------------------------------------------------------- ScaleCrafter


def test_scalecrafters_tables():
    """SPEC §4, level by level."""
    row = scalecrafter.redilation(3, 2.0)
    assert (row.until, row.factors, row.damped) == (30, {("middle", 0): 2, ("up", 0): 2}, None)
    row = scalecrafter.redilation(3, 2.5)
    assert (row.until, row.factors) == (30, {("middle", 0): 2.5, ("up", 0): 2.5})
    row = scalecrafter.redilation(3, 4.0)
    assert (row.until, row.damped) == (35, {("middle", 0): 2, ("up", 0): 2})
    assert row.factors == {("down", 2): 4, ("middle", 0): 4, ("up", 0): 4, ("up", 1): 3, ("up", 2): 2}
    everywhere = [("down", 1), ("down", 2), ("down", 3), ("middle", 0), ("up", 0), ("up", 1), ("up", 2)]
    assert scalecrafter.redilation(4, 2.0).factors == dict.fromkeys(everywhere, 2)
    assert scalecrafter.redilation(4, 2.0).until == 30
    assert scalecrafter.redilation(4, 2.5).factors == dict.fromkeys(everywhere, 2.5)
    assert scalecrafter.redilation(4, 2.5).until == 35
    row = scalecrafter.redilation(4, 4.0)
    assert row.factors == dict(zip(everywhere, (2, 3, 4, 4, 4, 3, 2)))
    assert row.damped == {level: d for level, d in row.factors.items() if level not in (("down", 1), ("up", 2))}


@pytest.mark.parametrize(
    ("ratio", "deepest", "until"), [(1.25, 1.25, 30), (2.04, 2, 30), (2.2, 2.2, 30), (3.0, 3, 30), (3.5, 3.5, 35), (8, 8, 35)]
)
def test_other_sizes_take_the_nearest_row_and_their_own_enlargement(ratio, deepest, until):
    row = scalecrafter.redilation(3, ratio)
    assert row.until == until and row.factors["middle", 0] == pytest.approx(deepest)
    if until == 35:
        assert row.factors["up", 2] == pytest.approx(2 * ratio / 4) and row.damped["middle", 0] == pytest.approx(2 * ratio / 4)


def test_the_schedule_is_progressive_where_the_guidance_is_damped():
    """τ = 35 from d = 4: ⌈4 (35 − i)/35⌉, at least 2; the other rows stay as they are until τ."""
    row = scalecrafter.redilation(3, 4.0)
    assert [row.at(i)["middle", 0] for i in (0, 8, 9, 17, 18, 34)] == [4, 4, 3, 3, 2, 2]
    assert [row.at(i)["up", 1] for i in (0, 11, 12, 34)] == [3, 3, 2, 2]
    assert row.at(0, damped=True) == {("middle", 0): 2, ("up", 0): 2}
    assert row.at(35) == row.at(35, damped=True) == {}
    row = scalecrafter.redilation(3, 2.5)
    assert row.at(0) == row.at(29) == row.factors and row.at(30) == row.at(0, damped=True) == {}


# ---------------------------------------------------------------- DemoFusion


def test_windows_and_jitter_are_multidiffusions():
    """Of a 2048 × 3072 px picture: 128 cells, stride 64, moved by up to 16 = (128 − 64)/4."""
    plan = windows_of((256, 384), (128, 128))
    assert plan.tops == (0, 64, 128) and plan.lefts == (0, 64, 128, 192, 256) and plan.jitter == (16, 16)
    assert windows_of((100, 256), (128, 128)).size == (100, 128)


@given(st.integers(5, 30), st.integers(5, 30), st.integers(0, 9))
def test_windows_that_agree_give_back_the_picture(h, w, seed):
    """x₀ that depends on nothing but its own cell and the conditions': average and crop undo the cut."""
    plan = windows_of((h, w), (8, 6))
    x, concat = noise(2, 4, h, w), noise(2, 4, h, w, seed=1)
    corners = []

    def denoise(parts, cut, places):
        corners.extend(places)
        assert parts.shape[1:] == (4, *plan.size) and len(parts) == 2 * len(places)
        return 3 * parts + cut(concat)

    views = jittered_views(plan, seed)
    assert torch.allclose(demofusion.local_path(x, plan, views, denoise), 3 * x + concat)
    assert corners == [(t, left) for t, _, left, _ in views.tolist()]


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
def test_lattices_of_the_blurred_latent(h, w, s, deviation):
    x, concat = noise(2, 4, h, w), noise(2, 4, h, w, seed=1)

    def predict(lattice):
        return 0.5 * lattice + 0.1 * lattice.mean((2, 3), keepdim=True)  # depends on the whole lattice

    def denoise(parts, cut, places):
        assert places is None and cut(concat).shape == parts.shape
        return predict(parts)

    out = demofusion.global_path(x, s, deviation, denoise)
    assert torch.allclose(out, reference_lattices(x, s, deviation, predict), atol=1e-6)


def test_paths_are_mixed_by_c2_and_blurred_by_c3():
    """C = ½ (1 + cos(π (1000 − t)/1000)); at t = 681 it is .7693, so c₃ = .7716."""
    c = 0.5 * (1 + cos(pi * 319 / 1000))
    assert c == pytest.approx(0.7693, abs=1e-4)
    x, plan = noise(1, 4, 16, 16), windows_of((16, 16), (8, 8))

    def denoise(parts, cut, places):
        return torch.ones_like(parts) if places else parts * 0

    out = demofusion.demofusion(x, 681, plan, fixed_views(plan), 2, 0.8, denoise)
    overall = reference_lattices(x, 2, (0.99 * c + 0.01) * 0.8, lambda lattice: lattice * 0)
    assert torch.allclose(out, (1 - c) * torch.ones_like(x) + c * overall, atol=1e-6)


def test_a_stage_ends_with_the_bases_mean_and_deviation():
    x, base = 3 * noise(2, 4, 9, 7) + 5, 0.5 * noise(2, 4, 4, 4, seed=1) - torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1)
    out = demofusion.matched(x, base)
    for a, b, original in zip(out, base, x):
        assert torch.allclose(a.mean(), b.mean()) and torch.allclose(a.std(), b.std())
        assert torch.allclose((a - a.mean()) / a.std(), (original - original.mean()) / original.std())


# ---------------------------------------------------------------- FouriScale


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
def test_low_pass_is_the_shifted_mirrored_one(q, weak, size):
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


def test_low_pass_pads_to_the_right_and_below():
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
def test_strong_rows_and_weak_rows(count, stride):
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


# ---------------------------------------------------------------- HiDiffusion


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
def test_windows_attend_to_themselves(grid, quarters):
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


def test_odd_grids_are_stretched_by_one():
    q, k, v = (noise(1, 7 * 8, 6, seed=seed) for seed in range(3))
    wide = [F.interpolate(x.unflatten(1, (7, 8)).movedim(-1, 1), (8, 8), mode="bicubic") for x in (q, k, v)]
    even = hidiffusion.windowed_attention(*(x.movedim(1, -1).flatten(1, 2) for x in wide), (8, 8), 1, attend)
    expected = F.interpolate(even.unflatten(1, (8, 8)).movedim(-1, 1), (7, 8), mode="bicubic").movedim(1, -1).flatten(1, 2)
    assert torch.allclose(hidiffusion.windowed_attention(q, k, v, (7, 8), 1, attend), expected)


def test_pooling_rounds_up():
    x = noise(1, 2, 5, 8)
    assert hidiffusion.pooled(x, 0) is x
    assert hidiffusion.pooled(x).shape == (1, 2, 3, 4)
    assert torch.allclose(hidiffusion.pooled(x)[..., 0, 0], x[..., :2, :2].mean((2, 3)))
    assert torch.allclose(hidiffusion.pooled(x, 2), hidiffusion.pooled(hidiffusion.pooled(x)))
