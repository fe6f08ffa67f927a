"""Native picture, scale ratio and window plans: the cases of SPEC §1a and §3."""

import pytest
from freescale.freescale_core.geometry import enlargement
from freescale.freescale_core.windows import window_plan
from hypothesis import given
from hypothesis import strategies as st

SDXL_BUCKETS = [(1024, 1024), (832, 1216), (1216, 832), (768, 1344), (1344, 768), (896, 1152)]


@pytest.mark.parametrize(("height", "width"), SDXL_BUCKETS)
def test_a_models_own_buckets_are_native_and_their_doubles_twice_that(height, width):
    assert enlargement(height, width, 1024) is None
    for times in (2, 4):
        size = enlargement(times * height, times * width, 1024)
        assert (size.height, size.width, size.ratio, size.factor, size.strides) == (times, times, times, times, (times, times))
        assert size.native == (height, width)


def test_inactive_up_to_one_and_a_half_times_the_native_area():
    assert enlargement(1024, 1536, 1024) is None  # exactly 1.5
    assert enlargement(1032, 1536, 1024) is not None
    assert enlargement(512, 512, 512) is None and enlargement(1024, 1024, 512).ratio == 2


@pytest.mark.parametrize(("side", "ratio", "factor"), [(1280, 1.25, 2), (1536, 1.5, 2), (2048, 2, 2), (2096, 2.046875, 2), (2112, 2.0625, 3), (2560, 2.5, 3), (3072, 3, 3), (8192, 8, 8)])  # fmt: skip
def test_fractional_ratios(side, ratio, factor):
    """S = ceil(s − 0.05), never below 2: with 1.25 rounded to 1 the blur would vanish (C's defect)."""
    size = enlargement(side, side, 1024)
    assert (size.ratio, size.factor) == (ratio, factor)


def test_the_larger_axis_ratio_counts():
    size = enlargement(1536, 1024 * 3, 1024)  # native 704 × 1472 (724 and 1448 before rounding to 64)
    assert size.native == (704, 1472)
    assert size.ratio == max(size.height, size.width) == size.height == 1536 / 704


@given(st.integers(1, 1024), st.integers(1, 1024), st.sampled_from([512, 768, 1024]))
def test_any_size_of_eight_pixels_has_a_sane_plan(h8, w8, native):
    height, width = 8 * h8, 8 * w8
    size = enlargement(height, width, native)
    assert (size is None) == (height * width <= 1.5 * native**2)
    if size:
        assert all(side % 64 == 0 and side >= 64 for side in size.native)
        assert size.factor >= 2 and min(size.strides) >= 1
        assert size.ratio == max(height / size.native[0], width / size.native[1]) > 1


def test_longer_side_rule():
    """`native_size` n > 0 is C's rule, s = max(H, W)/n: what the parity vectors use."""
    size = enlargement(2048, 4096, 1024, longer_side=True)
    assert (size.height, size.width, size.ratio, size.factor, size.strides) == (2, 4, 4, 4, (2, 4))
    assert enlargement(1024, 1024, 512, longer_side=True).ratio == 2  # Turbo
    assert enlargement(1024, 768, 1024, longer_side=True) is None and enlargement(1024, 1024, 1024, longer_side=True) is None
    portrait = enlargement(1280, 640, 1024, longer_side=True)
    assert portrait.ratio == 1.25 and portrait.factor == 2
    assert portrait.strides == (2, 1)  # an axis below the native length is not strided


@pytest.mark.parametrize("times", [2, 3, 4, 8])
def test_square_plans_have_c_s_windows(times):
    """(2s − 1)² windows of 64² tokens at level 640, 32² at level 1280, stride half a window, jitter an eighth."""
    for window in (64, 32):
        plan = window_plan(window * times, window * times, float(times))
        assert plan.size == (window, window) and plan.count == (2 * times - 1) ** 2 and plan.jitter == (window // 8,) * 2
        assert plan.tops == plan.lefts == tuple(range(0, window * (times - 1) + 1, window // 2))


def test_rectangular_and_odd_plans():
    plan = window_plan(32, 64, 4.0)  # the parity case wide2x4: windows have the target's aspect
    assert plan.size == (8, 16) and plan.count == 49
    plan = window_plan(45, 33, 2.5)
    assert plan.size == (18, 13) and plan.tops == (0, 9, 18, 27) and plan.lefts == (0, 6, 12, 18, 20)  # the last one flush
    plan = window_plan(40, 1, 2.0)
    assert plan.lefts == (0,) and plan.jitter == (2, 0)  # an axis with one window has no jitter


def test_windows_under_eight_tokens_do_not_move():
    assert window_plan(14, 14, 2.0).jitter == (0, 0)  # C slices an empty range here


@given(st.integers(1, 300), st.integers(1, 300), st.floats(1.0, 10.0))
def test_plans_stay_in_the_grid(h, w, ratio):
    plan = window_plan(h, w, ratio)
    for length, window, starts in zip((h, w), plan.size, (plan.tops, plan.lefts)):
        assert 1 <= window <= length
        assert starts[0] == 0 and starts[-1] == length - window
        assert list(starts) == sorted(set(starts))
