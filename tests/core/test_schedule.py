"""Where a stage restarts, and how strongly it is held (SPEC §1.3, §1.4)."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from freescale.freescale_core.noise import timestep, variance_exploding
from freescale.freescale_core.schedule import blend, blend_coefficient, paper_step, stage_sigmas
from hypothesis import given
from hypothesis import strategies as st

ALPHAS = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
TABLE = ((1 - ALPHAS) / ALPHAS) ** 0.5
T = partial(timestep, table=TABLE)
DDIM_UNIFORM = torch.tensor([*TABLE[981::-20], 0.0], dtype=torch.float32)  # as ComfyUI gives it: t = 981, 961 … 1


def test_the_papers_restart():
    assert len(DDIM_UNIFORM) == 51
    run = stage_sigmas(DDIM_UNIFORM, T, 0.7)
    assert torch.equal(run, DDIM_UNIFORM[15:]) and len(run) - 1 == 35
    assert timestep(float(run[0]), TABLE) == pytest.approx(681, abs=1e-3)
    assert float(run[0]) == pytest.approx(3.093, abs=5e-4)


@given(st.floats(0, 1), st.integers(1, 200))
def test_a_stage_is_the_tail_that_begins_late_enough(denoise, steps):
    sigmas = torch.tensor([*np.interp(np.linspace(999, 0, steps), np.arange(1000), TABLE), 0.0], dtype=torch.float64)
    run = stage_sigmas(sigmas, T, denoise)
    assert torch.equal(run, sigmas[len(sigmas) - len(run) :]) and run[-1] == 0
    limit = 1000 * denoise + 0.5
    assert timestep(float(run[0]), TABLE) <= limit
    before = sigmas[: len(sigmas) - len(run)]
    assert all(timestep(float(sigma), TABLE) > limit for sigma in before)


def test_all_and_nothing():
    assert torch.equal(stage_sigmas(DDIM_UNIFORM, T, 1.0), DDIM_UNIFORM)
    assert stage_sigmas(DDIM_UNIFORM, T, 0.0).tolist() == [0.0]
    assert stage_sigmas(DDIM_UNIFORM[:3], T, 0.1).tolist() == DDIM_UNIFORM[2:3].tolist()  # no final 0: nothing to run


def test_timestep_reads_the_table_between_its_points():
    for t in (0, 1, 500, 998, 999):
        assert timestep(TABLE[t], TABLE) == pytest.approx(t, abs=1e-9)
    assert timestep(math.sqrt(TABLE[300] * TABLE[301]), TABLE) == pytest.approx(300.5)  # midway in log σ
    assert timestep(0.0, TABLE) == 0 and timestep(1e9, TABLE) == 999
    assert timestep(TABLE[9::10][50], TABLE[9::10]) == pytest.approx(
        509
    )  # a distilled table: every tenth step, the last being 999


def test_steps_are_those_of_fifty_ddim_ones():
    """t_i = 981 − 20 i is step i, and i < 50 p exactly where t is above that of percent p (HOST: 999 (1 − p))."""
    assert [paper_step(981 - 20 * i) for i in range(50)] == list(range(50))
    assert paper_step(999) == 0 and paper_step(0) == 50
    for percent in (0.16, 0.3, 0.4, 0.6, 0.7):
        border = 999 * (1 - percent)
        assert paper_step(border + 0.01) < 50 * percent <= paper_step(border - 0.01)


@pytest.mark.parametrize(("i", "c"), [(15, 0.592), (20, 0.392), (25, 0.221), (30, 0.101), (35, 0.033), (40, 0.006)])
def test_blend_coefficients_of_the_spec(i, c):
    assert blend_coefficient(981 - 20 * i, 2.0) == pytest.approx(c, abs=5e-4)


def test_blend_coefficient_limits():
    assert blend_coefficient(1000, 2.0) == 1 and blend_coefficient(0, 2.0) == 0
    assert blend_coefficient(500, 0.0) == 1  # α = 0: held all the way
    assert blend_coefficient(981, 1e6) == 0  # α huge: never held
    falling = [blend_coefficient(500, alpha) for alpha in (0.5, 1, 2, 3)]
    assert falling == sorted(falling, reverse=True)  # a larger α lets go sooner


def test_blend_coefficient_of_a_map():
    alpha = torch.tensor([[0.5, 2.0]])
    c = blend_coefficient(681.0, alpha)
    assert isinstance(c, torch.Tensor) and c.dtype == alpha.dtype
    for got, a in zip(c[0], alpha[0]):
        assert float(got) == pytest.approx(blend_coefficient(681.0, float(a)), abs=1e-6)


def test_blend_limits():
    x, z, noise = torch.randn(3, 2, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    reference = z + 3.0 * noise
    assert torch.equal(
        blend(x, variance_exploding(z, noise, 3.0), 0.0), x
    )  # bit for bit, or c ≡ 0 could not equal the host's sampler
    assert torch.equal(blend(x, variance_exploding(z, noise, torch.tensor(3.0)), 1.0), reference)
    assert torch.allclose(blend(x, variance_exploding(z, noise, 3.0), 0.25), 0.75 * x + 0.25 * reference, atol=1e-6)
    c = torch.zeros(1, 1, 6, 5)
    c[..., :3] = 1
    mixed = blend(x, variance_exploding(z, noise, 3.0), c)
    assert torch.equal(mixed[..., :3], reference[..., :3]) and torch.equal(mixed[..., 3:], x[..., 3:])
