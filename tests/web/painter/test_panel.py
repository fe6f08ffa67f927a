"""The panel of the settings: what the presets mean, and how it fits screens."""

import json

import pytest
from editor import RENDERERS, set_values
from painter import EXTENSION, Painter

from tools.folders import ROOT

pytestmark = pytest.mark.parametrize("client", RENDERERS[:1], indirect=True, scope="module")  # nothing here is drawn by the graph


@pytest.mark.parametrize(
    ("outside", "details", "shown"),
    [
        (0.5, [1, 0.25, 0.13], ["× 2 = 1", "× ½ = 0.25", "× ¼ = 0.13"]),
        (2, [4, 1, 0.25], ["× 2 = 4", "× ½ = 1", "= 0.25"]),
        (15, [20, 1, 0.25], ["= 20", "= 1", "= 0.25"]),
    ],
)
def test_presets_are_more_or_less_than_the_ground_and_kept_as_numbers(region, outside, details, shown):
    """Up to what a preset may mean: what protects does so on any ground."""
    set_values(region, detail_outside=outside)
    painter = Painter(region)
    painter.choose("Rectangle")
    for name in ("More detail", "Protect face", "Keep as is"):
        painter.preset(name)
        painter.drag((0.2, 0.2), (0.4, 0.4))
    assert [shape["detail"] for shape in painter.shapes] == details
    assert painter.page.locator("#presets small").all_inner_texts() == shown
    painter.done()


def test_a_preset_that_would_be_the_ground_itself_cannot_be_chosen(region):
    set_values(region, detail_outside=0)
    painter = Painter(region)
    buttons = painter.page.locator("#presets button").all()
    assert len(buttons) == 3 and all(button.is_disabled() for button in buttons)
    painter.done()


LAYOUT = """([words, base]) => import(base + '/painter/texts.js').then(({ label }) => {
    label(document, { texts: words, language: 'en' })
    const box = selector => document.querySelector(selector).getBoundingClientRect()
    const panels = [...document.querySelectorAll('header, aside')]
    const parts = panels.flatMap(panel => [...panel.querySelectorAll('*')])
    const [slider, ramp] = [box('#detail'), box('#ramp')]
    return {
        cut: [...panels, ...parts.filter(e => e.matches('button, fieldset, label'))].filter(
            e => e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight + 1).map(e => e.outerHTML.slice(0, 80)),
        apart: ramp.top - slider.bottom,
        sides: [ramp.left - slider.left, slider.right - ramp.right],
        rows: new Set([...document.querySelectorAll('#presets button')].map(b => b.getBoundingClientRect().top)).size,
    }
})"""


@pytest.mark.parametrize(("width", "height", "rows"), [(820, 1180, 1), (1366, 768, 3)])
def test_the_panel_fits_a_tablet_and_a_laptop_in_every_language(region, artifacts, width, height, rows):
    before = region.viewport_size
    region.set_viewport_size({"width": width, "height": height})
    try:
        painter = Painter(region)
        base = region.evaluate(EXTENSION)
        for path in (ROOT / "locales").glob("*/main.json"):
            found = painter.frame.evaluate(LAYOUT, [json.loads(path.read_text("utf-8"))["freescalePainter"], base])
            region.screenshot(path=artifacts / f"painter_{width}_{path.parent.name}.png")
            assert found["cut"] == [], path.parent.name
            assert 0 <= found["apart"] < 8 and found["sides"] == [8, 8]  # the scale is right below its slider
            assert found["rows"] == rows, path.parent.name
    finally:
        region.set_viewport_size(before)
