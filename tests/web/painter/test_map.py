"""The format of a painting and its map: the editor draws what the node draws."""

import json
from functools import partial

import numpy as np
import pytest
from editor import RENDERERS
from freescale.nodes.region.painting import parse_painting
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from painter import EXTENSION, alpha_of, drawn

pytestmark = pytest.mark.parametrize("client", RENDERERS[:1], indirect=True, scope="module")  # nothing here is drawn by the graph

STROKES = st.builds(
    lambda points, detail, radius, hardness: {"kind": "stroke", "detail": detail, "radius": radius, "hardness": hardness, "points": points},
    st.lists(st.integers(-3000, 3000), min_size=2, max_size=6).map(lambda p: [5000 + p[0], 5000 + p[1], *p[2 : len(p) // 2 * 2]]),
    st.none() | st.integers(0, 20), st.integers(200, 2000), st.sampled_from([0.0, 0.4, 0.8, 1.0]),
)  # fmt: skip
PENS = STROKES.map(
    lambda s: {
        **s,
        "pressure": True,
        "points": [*s["points"][:2], 90, *s["points"][2:4], 30][: 3 * min(2, len(s["points"]) // 2)],
    }
)
OUTLINES = st.builds(
    lambda kind, detail, points: {"kind": kind, "detail": detail, "points": points},
    st.sampled_from(["rectangle", "ellipse"]), st.none() | st.integers(0, 20), st.lists(st.integers(500, 9000), min_size=4, max_size=4),
)  # fmt: skip
LASSOS = st.builds(
    lambda detail, points: {"kind": "lasso", "detail": detail, "points": points},
    st.integers(0, 20), st.lists(st.integers(-3000, 3000), min_size=6, max_size=12).map(lambda p: [5000, 5000, *p[: len(p) // 2 * 2]]),
)  # fmt: skip


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    shapes=st.lists(STROKES | PENS | OUTLINES | LASSOS | st.just({"kind": "invert"}), min_size=1, max_size=4), wide=st.booleans()
)
def test_the_editor_and_the_node_draw_the_same_map(client, shapes, wide):
    """Within antialiasing: they differ at edges only, and on average by less than half a pixel's coverage there.

    Inside and outside add up to the highest detail, so that inverting never clamps: a clamped edge looks less steep
    than the coverage behind it is.
    """
    text = json.dumps({"version": 1, "shapes": shapes})
    size = (320, 200) if wide else (200, 320)
    shown, made = (draw(text, *size, inside=15, outside=5) for draw in (partial(alpha_of, client), drawn))
    steepest = sum(np.abs(np.gradient(made)))  # α per px
    assert (
        np.abs(shown - made) <= 0.5 + 1.5 * _around(steepest)
    ).all()  # a tenth of the ground: a px that one of them just touches
    assert np.abs(shown - made).mean() <= 0.02 + 0.5 * steepest.mean()


@pytest.mark.parametrize(("detail", "inverted"), [(20, 0.0), (0, 3.5), (None, 3.0)])
def test_inverting_stays_within_what_detail_may_be(client, detail, inverted):
    text = json.dumps({"version": 1, "shapes": [{"kind": "fill", "detail": detail}, {"kind": "invert"}]})
    assert (alpha_of(client, text, 8, 8) == inverted).all() and (drawn(text, 8, 8) == inverted).all()


def _around(values: np.ndarray) -> np.ndarray:
    """The largest value within two px."""
    padded = np.pad(values, 2, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).max((-2, -1))


HOUR = """async base => {
    const { toShape, writePainting, withShape } = await import(base + '/painter/painting.js')
    let seed = 1, shapes = []
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647
    for (let second = 0; second < 3600; second += 3) {  // a stroke lasts a second and a half, at 60 moves a second
        const [x, y, a, b] = [random(), random(), 6 * random(), 0.3 * random()]
        const drawn = Array.from({ length: 90 }, (_, i) => [
            x + b * Math.cos(a + i / 25) + 0.0005 * random(), y + b * Math.sin(1.3 * a + i / 18) + 0.0005 * random(), 1])
        shapes = withShape(shapes, toShape({ kind: 'stroke', detail: 3, radius: 200 + Math.round(400 * random()), hardness: 0.5, drawn }, 1.5))
    }
    return writePainting({ aspect: 1.5, shapes })
}"""


def test_undo_far_back_is_what_was_there(client):
    """The map is not painted from the start for every undo: what is kept along the way must be right."""
    different = """async ([base, text]) => {
        const { DetailRaster } = await import(base + '/painter/raster.js')
        const { readPainting } = await import(base + '/painter/painting.js')
        const shapes = readPainting(text).shapes.slice(0, 330)
        const make = () => new DetailRaster(96, 64, new Float32Array(96 * 64).fill(0.5), { inside: 3, outside: 0.5 })
        const raster = make()
        shapes.forEach((shape, i) => raster.commit(shape, i + 1))
        const branch = [...shapes.slice(0, 205), { kind: 'fill', detail: 1 }, ...shapes.slice(300)]
        return [shapes.slice(0, 329), shapes.slice(0, 150), shapes, branch, shapes.slice(0, 301), []].filter(part => {
            const fresh = make()
            fresh.paintAll(part)
            raster.paintAll(part)
            return !fresh.shown.every((alpha, i) => alpha === raster.shown[i])
        }).length
    }"""
    base = client.evaluate(EXTENSION)
    assert client.evaluate(different, [base, client.evaluate(HOUR, base)]) == 0


def test_an_hour_of_painting_is_small(client):
    text = client.evaluate(HOUR, client.evaluate(EXTENSION))
    assert len(parse_painting(text).shapes) == 1200
    print(f"an hour of painting: {len(text) / 1000:.0f} kB")
    assert len(text) < 200_000
