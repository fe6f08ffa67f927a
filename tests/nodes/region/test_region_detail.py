"""Painted regions: what the format allows, what each shape does to α, and that no text can hurt."""

import json
import time

import pytest
import torch
from freescale.nodes.region.painting import LARGEST_SIDE, painted_size, parse_painting
from freescale.nodes.region.region_detail import RegionDetailMask
from hypothesis import given, settings
from hypothesis import strategies as st

INSIDE, OUTSIDE = 3.0, 0.5


def painting(*shapes, **more) -> str:
    return json.dumps({"version": 1, "shapes": shapes, **more})


def stroke(*points, detail=5.0, radius=500, **more) -> dict:
    return {"kind": "stroke", "detail": detail, "radius": radius, "points": points, **more}


def region(text="", feather=0.0, image=None, mask=None):
    """(α [B, H, W], mask, overlay) of the node."""
    return RegionDetailMask.execute(
        regions=text, detail_inside=INSIDE, detail_outside=OUTSIDE, feather=feather, image=image, mask=mask
    ).args


def at(map_, x, y):
    """The value at a place of the picture, 0 … 1."""
    return float(map_[0, int(y * map_.shape[1]), int(x * map_.shape[2])])


def test_nothing_painted_is_the_value_outside():
    alpha, mask, overlay = region()
    assert alpha.unique().tolist() == [OUTSIDE] and mask.unique().tolist() == [0.0]
    assert overlay[0, 0, 0, 2] > overlay[0, 0, 0, 0]  # blue: less detail than usual


@pytest.mark.parametrize(
    ("shape", "inside", "outside", "area"),
    [
        (stroke(2000, 5000, 6000, 0), [(0.2, 0.5), (0.5, 0.5), (0.84, 0.5), (0.5, 0.46)], [(0.5, 0.44), (0.86, 0.5)], 0.06 + 0.00785),
        (stroke(2000, 5000, hardness=1.0), [(0.2, 0.5), (0.24, 0.5)], [(0.26, 0.5), (0.2, 0.56)], 0.00785),
        (stroke(2000, 5000, 100, 6000, 0, 10, pressure=True), [(0.2, 0.545), (0.8, 0.501)], [(0.8, 0.51)], 0.03697),
        ({"kind": "rectangle", "detail": 5.0, "points": [6000, 8000, -4000, -6000]}, [(0.21, 0.21), (0.59, 0.79)], [(0.61, 0.5)], 0.24),
        ({"kind": "ellipse", "detail": 5.0, "points": [2000, 2000, 4000, 6000]}, [(0.4, 0.22), (0.4, 0.5)], [(0.22, 0.22)], 0.1885),
        ({"kind": "lasso", "detail": 5.0, "points": [1000, 1000, 8000, 0, 0, 8000]}, [(0.8, 0.2)], [(0.2, 0.8)], 0.32),
        ({"kind": "fill", "detail": 5.0}, [(0, 0), (0.999, 0.999)], [], 1.0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("side", [256, 1000])
def test_each_shape(shape, inside, outside, area, side):
    alpha, mask, _ = region(painting(shape), image=torch.zeros(1, side, side, 3))
    assert [(at(alpha, *place), at(mask, *place)) for place in inside] == [(5.0, 1.0)] * len(inside)
    assert [(at(alpha, *place), at(mask, *place)) for place in outside] == [(OUTSIDE, 0.0)] * len(outside)
    assert float(mask.mean()) == pytest.approx(area, rel=0.02)


def test_later_shapes_lie_over_earlier_ones_and_the_eraser_takes_all():
    two = [{"kind": "fill", "detail": 4.0}, stroke(5000, 5000, detail=1.0, radius=2000)]
    alpha, mask, _ = region(painting(*two))
    assert (at(alpha, 0.5, 0.5), at(alpha, 0.9, 0.9)) == (1.0, 4.0) and mask.min() == 1
    alpha, mask, _ = region(painting(*two, stroke(5000, 5000, detail=None, radius=2000)))
    assert (at(alpha, 0.5, 0.5), at(alpha, 0.9, 0.9)) == (OUTSIDE, 4.0) and at(mask, 0.5, 0.5) == 0


def test_invert_swaps_much_and_little():
    alpha, mask, _ = region(painting(stroke(5000, 5000, detail=INSIDE, radius=2000), {"kind": "invert"}))
    assert (at(alpha, 0.5, 0.5), at(alpha, 0.9, 0.9)) == (OUTSIDE, INSIDE)
    assert (at(mask, 0.5, 0.5), at(mask, 0.9, 0.9)) == (0, 1)
    alpha, _, _ = region(painting({"kind": "fill", "detail": 20.0}, {"kind": "invert"}))
    assert alpha.unique().tolist() == [0.0]  # α cannot be negative


def test_a_wired_mask_is_the_ground_of_the_painting():
    mask = torch.zeros(1, 200, 300)
    mask[..., 150:] = 1
    alpha, covered, _ = region(painting(stroke(9000, 5000, detail=None, radius=500), stroke(1000, 5000)), mask=mask)
    assert alpha.shape == (1, 200, 300)
    assert [at(alpha, x, 0.5) for x in (0.1, 0.3, 0.7, 0.9)] == [5.0, OUTSIDE, INSIDE, OUTSIDE]
    assert [at(covered, x, 0.5) for x in (0.1, 0.3, 0.7, 0.9)] == [1, 0, 1, 0]


@pytest.mark.parametrize("hardness", [0.0, 0.3, 0.7])
def test_a_soft_brush_fades_out_at_its_radius(hardness):
    _, mask, _ = region(
        painting(stroke(-5000, 5000, 20_000, 0, radius=2000, hardness=hardness)), image=torch.zeros(1, 500, 500, 3)
    )
    profile = mask[0, 250:, 250]
    assert (profile.diff() <= 0).all() and profile[0] > 0.95 and profile[100] < 0.06
    half = int((profile > 0.5).sum())
    assert half == pytest.approx(100 * (1 + hardness) / 2, abs=1.5)  # half covered where the solid brush ends
    assert mask[0, 250, 0] == pytest.approx(float(mask[0, 250, 250]), abs=0.02)  # it runs on beyond the picture's edge


def test_the_same_painting_at_every_size_and_batch():
    text = painting(
        stroke(2000, 3000, 4000, 2000, hardness=0.2), {"kind": "ellipse", "detail": 1.0, "points": [5000, 5000, 3000, 2000]}
    )
    small, _, _ = region(text, image=torch.zeros(1, 256, 384, 3))
    large, _, _ = region(text, image=torch.zeros(2, 1024, 1536, 3))
    assert torch.equal(large[:1], region(text, image=torch.zeros(1, 1024, 1536, 3))[0])
    shrunk = torch.nn.functional.interpolate(large[:1, None], (256, 384), mode="area")[:, 0]
    assert (small - shrunk).abs().mean() < 0.01 and (small - shrunk).abs().max() < 0.5 * 5


def test_the_pictures_size_decides_and_without_one_the_paintings_own():
    assert region(painting(stroke(1, 1), aspect=2.0))[0].shape == (1, 512, 1024)
    assert region(painting(stroke(1, 1), aspect=0.5))[0].shape == (1, 1024, 512)
    alpha, mask, overlay = region(painting(stroke(1, 1), aspect=2.0), image=torch.zeros(1, 80, 4096, 3))
    assert mask.shape == (1, 80, 4096) and overlay.shape == (1, 80, 4096, 3)
    assert alpha.shape == (1, 40, LARGEST_SIDE)  # as fine as is of use


def test_feather_softens_every_edge_at_every_size():
    text = painting({"kind": "rectangle", "detail": 3.0, "points": [5000, 0, 5000, 10_000]})
    for side in (512, 4096):
        _, mask, _ = region(text, feather=side / 32, image=torch.zeros(1, side // 64, side, 3))
        profile = mask[0, 0, :: side // 64]
        assert profile[32] == pytest.approx(0.5, abs=0.08) and profile[34] == pytest.approx(0.84, abs=0.05)


def test_what_the_editor_shows_is_saved_in_the_temp_folder():
    output = RegionDetailMask.execute(
        regions="", detail_inside=3.0, detail_outside=0.5, feather=0.0, image=torch.rand(2, 64, 96, 3), mask=torch.ones(1, 64, 96)
    )
    assert [file["type"] for kind in ("backdrop", "mask") for file in output.ui[kind]] == ["temp", "temp"]
    assert RegionDetailMask.execute(regions="", detail_inside=3.0, detail_outside=0.5, feather=0.0).ui == {
        "backdrop": [],
        "mask": [],
    }


BROKEN = {
    "left half": "invalid json",
    "[]": "input should be an object",
    '{"version": 2, "shapes": []}': "painted with another version of FreeScale. Update the node pack",
    '{"version": 1}': "shapes: field required",
    '{"version": 1, "shapes": [{"kind": "star"}]}': "shapes.0",
    painting(stroke(1, 2, detail=21)): "shapes.0.stroke.detail: input should be less than or equal to 20",
    painting(stroke(1, 2, radius=0)): "shapes.0.stroke.radius",
    painting(stroke(1, 2, radius=6000)): "shapes.0.stroke.radius",
    painting(stroke(1.5, 2)): "shapes.0.stroke.points.0",
    painting(stroke(10**9, 2)): "shapes.0.stroke.points.0",
    painting(stroke(1, 2, 3)): "a point is incomplete",
    painting(stroke(1, 2, 3, 4, pressure=True)): "a point is incomplete",
    painting(stroke(1, 2, colour="red")): "shapes.0.stroke.colour",
    painting({"kind": "lasso", "detail": 1, "points": [0, 0, 1, 1]}): "three points or more",
    painting({"kind": "rectangle", "detail": 1, "points": [0, 0]}): "two corners",
    painting(aspect=0): "aspect",
    painting(stroke(1, 2, detail=float("nan"))): "finite",
    "[" * 100_000: "recursion",
    '{"version": 1, "shapes": [' + "9" * 100_000: "invalid json",
    " " + "x" * 2_000_000: "2000000 at most. Paint it with fewer strokes",
}


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:50])
def test_a_broken_painting_is_refused_when_queued_and_when_run(text):
    message = RegionDetailMask.validate_inputs(regions=text)
    assert message.startswith("FreeScale Region Detail › regions = ") and BROKEN[text] in message and len(message) < 400
    with pytest.raises(ValueError, match="^FreeScale Region Detail › regions = "):
        region(text)


COORDINATES = st.lists(st.integers(-40_000, 40_000), min_size=2, max_size=14)
SHAPES = st.one_of(
    st.builds(
        lambda points, **more: {"kind": "stroke", "points": points[: len(points) // 2 * 2], **more},
        COORDINATES, detail=st.none() | st.floats(0, 20), radius=st.integers(1, 5000), hardness=st.floats(0, 1),
    ),
    st.builds(
        lambda kind, points, detail: {"kind": kind, "points": points, "detail": detail},
        st.sampled_from(["rectangle", "ellipse"]), st.lists(st.integers(-40_000, 40_000), min_size=4, max_size=4), st.floats(0, 20),
    ),
    st.builds(
        lambda points, detail: {"kind": "lasso", "points": points, "detail": detail},
        st.lists(st.integers(-40_000, 40_000), min_size=6, max_size=6), st.none() | st.floats(0, 20),
    ),
    st.just({"kind": "invert"}),
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(SHAPES, max_size=4), st.integers(1, 90), st.integers(1, 90), st.floats(0, 256))
def test_any_painting_gives_values_between_0_and_20(shapes, height, width, feather):
    alpha, mask, overlay = region(painting(*shapes), feather, image=torch.zeros(1, height, width, 3))
    assert alpha.shape == mask.shape == (1, height, width)
    assert -1e-4 <= alpha.min() and alpha.max() <= 20 + 1e-3
    assert -1e-4 <= mask.min() and mask.max() <= 1 + 1e-4 and torch.isfinite(overlay).all()


def test_a_huge_painting_is_drawn_coarser_rather_than_for_ever():
    """The most shapes, each over the whole picture: the work is bounded by their area (and this ends)."""
    whole = stroke(5000, 5000, radius=5000, hardness=0.0)
    ordinary, hostile = (parse_painting(painting(*[whole] * count)) for count in (50, 10_000))
    assert painted_size(ordinary, 1024, 1024) == (1024, 1024)
    height, width = painted_size(hostile, 1024, 1024)
    assert 64 < height == width < 256
    dense = parse_painting(painting(stroke(*[5000, 5000] + [1, 0, -1, 0] * 100_000, radius=5000)))
    assert painted_size(dense, 2048, 2048)[0] < 500
    started = time.monotonic()
    alpha, _, overlay = region(painting(*[whole] * 2000), image=torch.zeros(1, 1024, 1024, 3))
    assert overlay.shape == (1, 1024, 1024, 3) and alpha.max() == 5
    print(f"2000 strokes over everything: {time.monotonic() - started:.1f} s")
