"""Paintings in workflows from strangers: the editor has the server's limits, and neither is blocked by what is within them."""

import json
import time

import pytest
from editor import saved, set_values, show
from freescale.freescale_core.detail import HIGHEST_DETAIL
from freescale.nodes.region import painting as on_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from painter import EXTENSION, REGIONS, Painter

LIMITS = ("UNITS", "LONGEST_TEXT", "MOST_SHAPES", "MOST_PIXELS", "MOST_DISCS")
DOT = {"kind": "stroke", "detail": 5, "radius": 100, "points": [5000, 5000]}


def text_of(*shapes, **more) -> str:
    return json.dumps({"version": 1, "shapes": shapes, **more}, separators=(",", ":"))


def zigzag(count: int, **more) -> dict:
    """A stroke of many points, over itself again and again."""
    return {**DOT, "points": [5000, 0, *[5000, 9999, -5000, -9999] * (count // 2)], **more}


HEAVY = {
    "inversions": text_of(*[{"kind": "invert"}] * 10_000),
    "fills": text_of(*[{"kind": "fill", "detail": 3}] * 10_000),
    "rectangles": text_of(*[{"kind": "rectangle", "detail": 5, "points": [0, 0, 9999, 9999]}] * 10_000),
    "clouds": text_of(*[{**DOT, "radius": 5000, "hardness": 0}] * 10_000),
    "dots": text_of(*[{**DOT, "hardness": 0, "points": [i, 9999 - i]} for i in range(10_000)]),
    "a zigzag": text_of(zigzag(20_000)),
    "a soft zigzag": text_of(zigzag(20_000, radius=500, hardness=0)),
    "all at one place": text_of({**DOT, "radius": 5000, "points": [5000, 5000, *[1, 0, -1, 0] * 50_000]}),
    "a lasso": text_of({"kind": "lasso", "detail": 5, "points": zigzag(20_000)["points"]}),
}


def read(client, texts: list[str]) -> list[int | None]:
    """How many shapes the editor reads of each text, None where it is no painting to it."""
    return client.evaluate(
        """async ([base, texts]) => {
            const { readPainting } = await import(base + '/painter/painting.js')
            return texts.map(text => { try { return readPainting(text).shapes.length } catch { return null } })
        }""",
        [client.evaluate(EXTENSION), texts],
    )


def on_the_server(text: str) -> int | None:
    try:
        return len(on_server.parse_painting(text).shapes)
    except ValueError:
        return None


def test_editor_and_server_have_one_set_of_limits(client):
    limits = client.evaluate(
        "async base => ({ ...await import(base + '/painter/painting.js'), ...await import(base + '/painter/raster.js'),"
        " ...await import(base + '/painter/colours.js') })",
        client.evaluate(EXTENSION),
    )
    assert {name: limits[name] for name in LIMITS} == {name: getattr(on_server, name) for name in LIMITS}
    assert limits["HIGHEST_DETAIL"] == HIGHEST_DETAIL


NUMBERS = st.sampled_from([-1, 0, 1, 2, 20, 20.5, 0.3, 100, 5000, 5001, 40_000, 40_001, -40_001, 10**30, True, None, "1", [], {}])
SHAPE = st.fixed_dictionaries(
    {"kind": st.sampled_from(["stroke", "rectangle", "ellipse", "lasso", "fill", "invert", "star", "constructor"])},
    optional={
        "detail": NUMBERS, "radius": NUMBERS, "hardness": NUMBERS, "pressure": st.booleans() | NUMBERS, "colour": NUMBERS,
        "points": st.lists(st.integers(-9, 9) | NUMBERS, max_size=9) | st.lists(st.integers(-9, 9), max_size=9) | NUMBERS,
    },
)  # fmt: skip
NEARLY = st.sampled_from(
    [DOT, {"kind": "fill", "detail": None}, {"kind": "invert"}, {"kind": "ellipse", "detail": 0, "points": [1, 2, 3, 4]}, {**DOT, "pressure": True}]
).flatmap(lambda shape: st.dictionaries(st.sampled_from([*DOT, "hardness", "pressure"]), NUMBERS, max_size=1).map(lambda more: {**shape, **more}))  # fmt: skip
DOCUMENT = st.fixed_dictionaries({"version": st.sampled_from([1, 1, 1, 1, 0, 2, None, "1"]), "shapes": st.lists(NEARLY, max_size=2) | st.lists(SHAPE | NEARLY, max_size=2)}, optional={"aspect": NUMBERS, "by": NUMBERS})  # fmt: skip


def test_editor_and_server_agree_on_what_a_painting_is(client):
    """A radius of −5 from another program made `arc()` throw in the editor, while the server had words for it."""
    texts = [
        "",
        " \n",
        "[]",
        "null",
        "1",
        '"x"',
        text_of(*[{"kind": "invert"}] * 10_001),
        text_of({**DOT, "radius": -5}),
        *HEAVY.values(),
    ]
    texts += [" " * 2_000_001 + "{}", text_of(DOT), text_of(DOT, aspect=100), text_of(DOT, aspect=100.1)]

    @settings(max_examples=1500, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(DOCUMENT)
    def collect(document):
        texts.append(json.dumps(document))

    collect()
    expected = [on_the_server(text) for text in texts]
    differing = [(text[:300], ours, theirs) for text, ours, theirs in zip(texts, expected, read(client, texts)) if ours != theirs]
    assert not differing
    assert 80 < sum(count is not None for count in expected) < len(texts) - 80


@pytest.mark.parametrize("name", HEAVY)
def test_no_painting_blocks_the_editor(client, name):
    """A workflow of 180 kB with 10,000 inversions: 16 s in which the editor did nothing, and 59 s in the painter."""
    graph = saved("freescale_region_detail")
    show(client, graph)
    set_values(client, regions=HEAVY[name])
    client.evaluate("() => new Promise(requestAnimationFrame)")
    timed = f"""() => {{ const began = performance.now(); ({REGIONS})().freescaleRegions.draw(); return performance.now() - began }}"""
    opened = client.evaluate(timed)
    started = time.monotonic()
    painter = Painter(client)
    painted = time.monotonic() - started
    print(f"{name}: {opened / 1000:.1f} s in the editor, {painted:.1f} s until the painter is open")
    assert opened < 5000 and painted < 30  # idle: 1.2 s and 9 s at most
    painter.done()
    assert client.faults == []


def test_a_broken_painting_shows_nothing_and_stays_for_the_server(client):
    broken = text_of({**DOT, "radius": -5})
    show(client, saved("freescale_region_detail"))
    set_values(client, regions=broken)
    text, shapes = client.evaluate(
        f"() => {{ const r = ({REGIONS})().freescaleRegions; r.draw(); return [r.text, r.painting.shapes.length] }}"
    )
    assert (text, shapes) == (broken, 0) and client.faults == []
