"""Scale Fusion over random sizes: against the straightforward layer, and what must hold whatever the numbers."""

from functools import partial

import numpy as np
import oracle
import pytest
import torch
from freescale.freescale_core import chunks
from freescale.freescale_core.attention import (
    add_rows,
    block_attention,
    local_attention,
    put_rows,
    scale_fusion,
    strided_attention,
)
from freescale.freescale_core.blur import blur_tokens, fold_feature_blur
from freescale.freescale_core.windows import drawn_below_2_32, fixed_views, jittered_views, window_plan
from hypothesis import example, given
from hypothesis import strategies as st
from measure import operators

HEADS, WIDTH = 2, 8
sides = st.integers(1, 24)
ratios = st.floats(1.0, 6.0)
keys = st.integers(0, 2**128 - 1)


def attend(q, k, v, grid=None):
    return oracle.attention(q, k, v, HEADS)


def windows(plan, views):
    return partial(local_attention, plan=plan, views=views)


def tokens(h, w, batch=1, dtype=torch.float64, number=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, h * w, WIDTH, generator=generator, dtype=torch.float64).to(dtype) for _ in range(number)]


def coverage(plan, views):
    """How many windows hold each token."""
    (h, w), (pad_h, pad_w) = plan.grid, plan.jitter
    count = np.zeros((h + 2 * pad_h, w + 2 * pad_w), int)
    for t, b, left, r in views:
        count[t:b, left:r] += 1
    return count[pad_h : pad_h + h, pad_w : pad_w + w]


@given(st.integers(1, 160), st.integers(1, 160), st.floats(1.0, 9.0), keys)
def test_windows_cover_every_token(h, w, ratio, key):
    plan = window_plan(h, w, ratio)
    assert len(jittered_views(plan, key)) == plan.count
    assert coverage(plan, jittered_views(plan, key)).min() >= 1
    assert coverage(plan, fixed_views(plan)).min() >= 1


@given(
    sides,
    sides,
    ratios,
    st.integers(2, 4),
    st.integers(1, 2),
    st.sampled_from(["hw", "hwd"]),
    st.sampled_from([None, (1, 2), (2, 3), (4, 1)]),
    keys,
)
@example(h=17, w=13, ratio=2.5, factor=3, batch=2, blur="hwd", strides=(3, 2), key=1)  # odd sides, unequal sub-grids
@example(h=16, w=16, ratio=1.25, factor=2, batch=1, blur="hw", strides=None, key=2)  # C's vanishing blur
@example(h=20, w=1, ratio=2.0, factor=2, batch=1, blur="hw", strides=None, key=3)  # one window on an axis
@example(h=3, w=24, ratio=1.1, factor=2, batch=1, blur="hwd", strides=(2, 5), key=4)  # more strides than some rows
def test_equals_the_straightforward_layer(h, w, ratio, factor, batch, blur, strides, key):
    plan = window_plan(h, w, ratio)
    views = jittered_views(plan, key)
    x, *_ = tokens(h, w, batch)
    generator = torch.Generator().manual_seed(1)
    shapes = dict.fromkeys(("to_q", "to_k", "to_v", "to_out"), (WIDTH, WIDTH)) | {"to_out_bias": (WIDTH,)}
    weights = {name: torch.randn(shape, generator=generator, dtype=x.dtype) / WIDTH**0.5 for name, shape in shapes.items()}
    q, k, v = (x @ weights[name].T for name in ("to_q", "to_k", "to_v"))
    overall, fused = scale_fusion(q, k, v, plan.grid, windows(plan, views), factor, attend, strides)
    out = [y @ weights["to_out"].T + weights["to_out_bias"] for y in (overall, fused)]
    ours = out[1] if blur == "hw" else fold_feature_blur(*out, factor)
    if strides:
        strides = (min(strides[0], h), min(strides[1], w))  # the oracle does not know of empty sub-grids
    expected = oracle.scale_fusion_layer(x, weights, HEADS, (h, w), plan.jitter, views, factor, blur, strides)
    # 1e-6: the kernel is made in float32, whatever the tokens' type.
    assert torch.allclose(ours, expected, rtol=0, atol=1e-6)


@given(sides, sides, ratios, st.sampled_from([(torch.float32, 2e-5), (torch.float16, 2e-2), (torch.bfloat16, 1e-1)]), keys)
def test_keeps_the_tokens_type(h, w, ratio, kind, key):
    dtype, error = kind
    plan = window_plan(h, w, ratio)
    views = jittered_views(plan, key)
    low, high = (scale_fusion(*tokens(h, w, dtype=d), plan.grid, windows(plan, views), 2, attend) for d in (dtype, torch.float64))
    for a, b in zip(low, high):
        assert a.dtype == dtype
        assert (a - b).abs().max() <= error


@given(sides, sides, ratios, keys)
def test_a_constant_stays_constant_where_no_padding_reaches(h, w, ratio, key):
    plan = window_plan(h, w, ratio)
    q, k, v = tokens(h, w)
    v = torch.full_like(v, 3.0)
    # Without jitter no window ever leaves the picture.
    for out in scale_fusion(q, k, v, plan.grid, windows(plan, fixed_views(plan)), 3, attend):
        assert torch.allclose(out, v)
    # With it, padded tokens are keys with v = 0: they only pull windows that reach them, and only towards 0.
    views = jittered_views(plan, key)
    inside = [(t >= a) & (b <= a + h) & (left >= c) & (r <= c + w) for a, c in [plan.jitter] for t, b, left, r in views]
    untouched = coverage(plan, views[np.invert(inside)]).reshape(-1) == 0
    local = local_attention(q, k, v, plan, views, attend)[0, :, 0].numpy()
    assert np.allclose(local[untouched], 3.0)
    assert (local[~untouched] < 3.0).all() and (local > 0).all()


@given(sides, sides, ratios, st.integers(1, 3), st.floats(0.01, 1), st.integers(1, 200), keys)
@example(h=16, w=16, ratio=2.0, batch=1, part=1.0, smallest=1, key=1)  # nine windows, of which four would fit
def test_stacks_of_windows_change_nothing_and_are_bounded(h, w, ratio, batch, part, smallest, key):
    plan, x = window_plan(h, w, ratio), tokens(h, w, batch)
    views = jittered_views(plan, key)
    seen = []

    def counted(q, k, v, grid):
        seen.append(q.shape[0] * q.shape[1] // batch)
        return attend(q, k, v)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "STACK", part)
        patch.setattr(chunks, "SMALLEST_STACK", smallest)
        stacked = local_attention(*x, plan, views, counted)
        window = plan.size[0] * plan.size[1]
        assert max(seen) <= max(h * w * part, smallest, window) and sum(seen) == plan.count * window
        assert max(seen) - min(seen) < len(seen) * window  # none is much smaller than the others
        patch.setattr(chunks, "STACK", 1e9)
        seen.clear()
        whole = local_attention(*x, plan, views, counted)
        assert len(seen) == 1
    assert torch.allclose(stacked, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("native", "scale", "operations"),
    [
        (8, 2, 20),
        (8, 4, 20),
        (8, 8, 27),
        (64, 2, 34),
        (64, 4, 48),
        (64, 8, 48),
    ],  # of SDXL's 64 memory asks for three to five stacks
)
def test_a_layer_is_few_operations_whatever_the_number_of_windows(native, scale, operations):
    """As docs/performance.md has them. Attention itself is the host's: one for each stack, and one for the whole picture."""
    side = native * scale
    plan = window_plan(side, side, float(scale))
    q, k, v = (torch.empty(1, side * side, WIDTH, device="meta") for _ in range(3))

    def layer():
        scale_fusion(q, k, v, plan.grid, windows(plan, jittered_views(plan, 1)), scale, lambda q, k, v, grid: torch.empty_like(q))

    layer()  # makes what is kept
    with torch.inference_mode():
        assert operators(layer) == operations
    assert plan.count == (2 * scale - 1) ** 2


@pytest.mark.parametrize("scale", [4, 8])
def test_a_layer_with_blocks_is_few_operations_too(scale):
    """At SDXL's own sizes; Fast's sub-grids in four chunks beside them."""
    side = 64 * scale
    q, k, v = (torch.empty(1, side * side, WIDTH, device="meta") for _ in range(3))
    blocks = partial(block_attention, plan=window_plan(side, side, float(scale)), shift=(3, 5))

    def layer(strides=None):
        scale_fusion(q, k, v, (side, side), blocks, scale, lambda q, k, v, grid: torch.empty_like(q), strides)

    for strides, operations in ((None, 45), ((scale, scale), 66)):
        layer(strides)  # makes what is kept
        with torch.inference_mode():
            assert operators(partial(layer, strides)) == operations


ELSEWHERE = {"device": property(lambda _: torch.device("mps"))}


@pytest.mark.parametrize("on", [{}, {"is_cuda": True}, ELSEWHERE], ids=["CPU", "as on CUDA", "elsewhere"])
def test_rows_of_one_place_are_added_in_their_order(on):
    """In each form; that CUDA's own sums are in this order, too, no CPU can show."""
    on = type("On", (torch.Tensor,), on)
    places = torch.tensor([[2, 0], [2, 3], [1, 2], [2, 3]])
    rows = torch.tensor([[1e8, 1.0], [1.0, 0.0], [1.0, -1e8], [1.0, 0.0]])[None, ..., None].expand(2, 4, 2, 3)
    total = torch.zeros(2, 4, 3)
    add_rows(total.as_subclass(on), places, rows)
    assert total[0, :, 0].tolist() == total[1, :, 2].tolist() == [1, 1, 1, 0]  # in another order 2 or 0 at the third place


@pytest.mark.parametrize("on", [{}, ELSEWHERE], ids=["CPU", "elsewhere"])
def test_rows_are_put_into_their_places(on):
    out = torch.zeros(2, 4, 3)
    put_rows(out.as_subclass(type("On", (torch.Tensor,), on)), torch.tensor([3, 0]), torch.arange(12.0).view(2, 2, 3))
    assert out[1].tolist() == [[9, 10, 11], [0, 0, 0], [0, 0, 0], [6, 7, 8]]


@given(sides, sides, ratios, keys)
def test_pictures_of_a_batch_do_not_see_each_other(h, w, ratio, key):
    plan, x = window_plan(h, w, ratio), tokens(h, w, batch=3)
    views = jittered_views(plan, key)
    together = scale_fusion(*x, plan.grid, windows(plan, views), 2, attend, (2, 1))
    alone = [scale_fusion(*(y[i : i + 1] for y in x), plan.grid, windows(plan, views), 2, attend, (2, 1)) for i in range(3)]
    for a, parts in zip(together, zip(*alone)):
        assert torch.allclose(a, torch.cat(parts), rtol=0, atol=1e-12)


@given(st.integers(2, 24), st.integers(2, 24), st.integers(1, 5), st.integers(1, 5), st.integers(1, 2))
def test_strided_attention_is_attention_of_each_sub_grid(h, w, step_h, step_w, batch):
    x = tokens(h, w, batch)
    out = strided_attention(*x, (h, w), (step_h, step_w), attend).reshape(batch, h, w, WIDTH)
    for a in range(min(step_h, h)):
        for b in range(min(step_w, w)):
            part = [y.reshape(batch, h, w, WIDTH)[:, a::step_h, b::step_w].flatten(1, 2) for y in x]
            assert torch.allclose(out[:, a::step_h, b::step_w].flatten(1, 2), oracle.attention(*part, HEADS), rtol=0, atol=1e-12)
    if (step_h, step_w) == (1, 1):
        assert torch.equal(out.flatten(1, 2), attend(*x, (h, w)))


@given(keys, keys)
def test_jitter_is_a_function_of_the_key(key, other):
    plan = window_plan(64, 96, 3.0)
    assert plan.jitter[0] > 0 and plan.jitter[1] > 0
    assert np.array_equal(jittered_views(plan, key), jittered_views(plan, key))
    if key != other:  # 2^-70 at the very most for a coincidence: 25 windows with 2 × 5 … 9 places each
        assert not np.array_equal(jittered_views(plan, key), jittered_views(plan, other))


def test_jitter_leaves_the_global_generators_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    jittered_views(window_plan(32, 32, 2.0), 7)
    assert torch.equal(torch.get_rng_state(), torch_state) and np.array_equal(np.random.get_state()[1], numpy_state)


def test_two_blurs_equal_one_by_linearity():
    """Eq. 7 as written, G(local) + global − G(global), against the pack's single blur."""
    plan = window_plan(18, 14, 2.0)
    x, views = tokens(18, 14), jittered_views(window_plan(18, 14, 2.0), 5)
    overall, fused = scale_fusion(*x, plan.grid, windows(plan, views), 3, attend)
    blur = partial(blur_tokens, grid=(18, 14), factor=3)
    assert torch.allclose(fused, blur(local_attention(*x, plan, views, attend)) + overall - blur(overall), rtol=0, atol=1e-12)


@given(sides, sides, ratios, keys, st.integers(1, 2))
@example(h=16, w=16, ratio=2.0, key=1, batch=1)
@example(h=9, w=1, ratio=2.5, key=2, batch=2)  # a block of one token, and an axis of one
def test_each_query_of_a_block_sees_the_window_around_it(h, w, ratio, key, batch):
    """By the definition, token after token: the block that it is in, the window in whose middle the block lies."""
    plan, x = window_plan(h, w, ratio), tokens(h, w, batch)
    shift = tuple(drawn_below_2_32(key, 2).tolist())
    out = block_attention(*x, plan, shift, attend).reshape(batch, h, w, WIDTH)
    q, k, v = (y.reshape(batch, h, w, WIDTH) for y in x)
    for place in {(0, 0), (h - 1, w - 1), (h // 2, w // 3), (h // 3, w - 1)}:
        seen = []
        for at, length, window, before in zip(place, (h, w), plan.size, shift):
            block = max(1, window // 2)
            start = (at + before % block) // block * block - before % block
            first = min(max(0, start - (window - block) // 2), length - window)
            assert first <= at < first + window  # it sees itself
            seen.append(slice(first, first + window))
        keys_, values = (y[:, seen[0], seen[1]].flatten(1, 2) for y in (k, v))
        expected = attend(q[:, place[0], place[1]][:, None], keys_, values)
        assert torch.allclose(out[:, place[0], place[1]], expected[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale, share", [(4, 0.41), (8, 0.32)])
def test_blocks_are_less_work_than_windows(scale, share):
    """Counted in pairs of tokens, with the blocks' grid shifted: at most by a block more on each axis."""
    plan, pairs = window_plan(16 * scale, 16 * scale, float(scale)), []

    def counted(q, k, v, grid):
        pairs.append(q.shape[0] * q.shape[1] * k.shape[1])
        return torch.empty_like(q)

    x = [torch.empty(1, (16 * scale) ** 2, WIDTH, device="meta")] * 3
    block_attention(*x, plan, (3, 5), counted)
    assert sum(pairs) / (plan.count * 256**2) == pytest.approx(share, abs=0.01)
