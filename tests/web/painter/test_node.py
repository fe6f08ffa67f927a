"""The node in the editor: its value, the picture to paint on, and the way from there to a finished picture."""

import io
import json

import numpy as np
import pytest
from editor import READY, run, set_values, show
from painter import EXTENSION, FRAME, PICTURE, REGIONS, VALUE, Painter
from PIL import Image

from tools.folders import ROOT


def pictures(client) -> dict[str, np.ndarray]:
    """Press Run and wait; the saved pictures by the title of their node."""
    run(client)
    saved = client.evaluate(
        "() => app.graph._nodes.filter(n => n.type === 'SaveImage').map(n => [n.title, app.nodeOutputs[n.id]?.images?.[0]])"
    )
    return {title: pixels(client, file) for title, file in saved if file}


def pixels(client, file: dict | str) -> np.ndarray:
    """A file of ComfyUI's folders, [height, width, 3]."""
    body = client.request.get(f"{client.url.split('?')[0].split('#')[0]}view", params=file).body()
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(float)


def test_paint_run_reload_and_share(region, browser, server, artifacts):
    """A newcomer's way: fetch the picture, paint two regions, run, see the difference, reload, share."""
    client = region
    client.evaluate(f"() => ({REGIONS})().freescaleRegions.element.querySelector('.fetch').click()")
    client.wait_for_function(PICTURE, timeout=60_000)
    assert client.evaluate(
        "() => app.graph._nodes.filter(n => n.type === 'SaveImage').every(n => !app.nodeOutputs[n.id])"
    )  # only that
    plain = pictures(client)

    painter = Painter(client)
    painter.preset("More detail")
    painter.slide("size", 0.15)
    painter.drag((0.1, 0.85), (0.9, 0.85))
    painter.choose("Ellipse")
    painter.preset("Keep as is")
    painter.drag((0.3, 0.25), (0.6, 0.65))
    client.screenshot(path=artifacts / f"painter{'_nodes2' if client.nodes_2 else ''}.png")
    painter.done()
    stroke, ellipse = painter.shapes
    assert (stroke["kind"], stroke["detail"], ellipse["kind"], ellipse["detail"]) == ("stroke", 1, "ellipse", 0.13)
    painted = pictures(client)
    client.screenshot(path=artifacts / f"painted{'_nodes2' if client.nodes_2 else ''}.png")

    base = client.evaluate(
        f"() => {{ const i = ({REGIONS})().freescaleRegions.backdrop; return new URL(i.src).search.slice(1) }}"
    )
    reference = Image.fromarray(pixels(client, base).astype(np.uint8)).resize((512, 512), Image.Resampling.BICUBIC)
    meadow, face = (slice(400, 470), slice(60, 450)), (slice(170, 290), slice(190, 270))

    def away(pictures, title, area):
        """How far a part of a picture is from the enlarged one before."""
        return np.abs(pictures[title] - np.asarray(reference, float))[area].mean()

    assert away(painted, "Save with the map", meadow) > 1.1 * away(plain, "Save with the map", meadow)  # 1 after 0.5
    assert away(painted, "Save with the map", face) < 0.9 * away(plain, "Save with the map", face)  # 0.13 after 0.5
    assert away(plain, "Save with the map", meadow) < away(plain, "Save without", meadow)  # 0.5 beside 2
    assert np.array_equal(painted["Save without"], plain["Save without"])

    text = client.evaluate(VALUE)
    shared = client.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    elsewhere = browser.new_context(viewport={"width": 1600, "height": 900}).new_page()
    elsewhere.goto(server.url)
    elsewhere.wait_for_function(READY, timeout=60_000)
    show(elsewhere, shared)
    assert elsewhere.evaluate(VALUE) == text
    elsewhere.context.close()

    client.wait_for_timeout(1500)  # the client keeps a draft of an unsaved workflow
    client.reload()
    client.wait_for_function(READY, timeout=60_000)
    client.wait_for_function(f"() => ({REGIONS})()", timeout=20_000)
    assert client.evaluate(VALUE) == text


def test_what_the_client_loads_of_the_painter_does_nothing_yet(client):
    """It loads every module of the folder; only the painter's own page runs them."""
    names = sorted(path.name for path in (ROOT / "js" / "painter").glob("*.js"))
    happened = client.evaluate(
        """async ([base, names]) => {
            const happened = [], places = [[EventTarget.prototype, 'addEventListener'], [Element.prototype, 'append']]
            const before = places.map(([owner, name]) => owner[name])
            places.forEach(([owner, name], i) => {
                owner[name] = function (...values) {
                    if (new Error().stack.includes('?fresh')) happened.push(name)
                    return before[i].apply(this, values)
                }
            })
            for (const name of names) await import(`${base}/painter/${name}?fresh`)
            places.forEach(([owner, name], i) => { owner[name] = before[i] })
            return happened
        }""",
        [client.evaluate(EXTENSION), names],
    )
    assert len(names) > 10 and happened == []


def test_copies_undo_and_subgraphs_keep_their_own_painting(region):
    client = region
    one, two = (json.dumps({"version": 1, "aspect": 1, "shapes": [{"kind": "fill", "detail": detail}]}) for detail in (1, 5))
    set_values(client, regions=one)
    values = "() => app.graph._nodes.filter(n => n.type === 'RegionDetailMask').map(n => n.widgets[0].value)"
    client.evaluate(
        """() => {
            const node = app.graph._nodes.find(n => n.type === 'RegionDetailMask')
            app.canvas.selectNode(node, false)
            app.canvas.copyToClipboard([node])
            app.canvas.pasteFromClipboard()
        }"""
    )
    assert client.evaluate(values) == [one, one]
    client.evaluate("two => { app.graph._nodes.filter(n => n.type === 'RegionDetailMask')[1].widgets[0].value = two }", two)
    assert client.evaluate(values) == [one, two]
    kept = client.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    show(client, kept)
    assert client.evaluate(values) == [one, two]
    inside = client.evaluate(
        """() => {
            const node = app.graph._nodes.find(n => n.type === 'RegionDetailMask')
            const { subgraph } = app.graph.convertToSubgraph(new Set([node]))
            return subgraph._nodes.find(n => n.type === 'RegionDetailMask').widgets[0].value
        }"""
    )
    assert inside == one
    sent = client.evaluate("app.graphToPrompt()")["output"]
    assert sorted(node["inputs"]["regions"] for node in sent.values() if node["class_type"] == "RegionDetailMask") == sorted(
        [one, two]
    )


def test_a_loaded_picture_is_there_at_once(client):
    client.evaluate(
        """() => {
            app.graph.clear()
            const load = LiteGraph.createNode('LoadImage'), regions = LiteGraph.createNode('RegionDetailMask')
            load.pos = [300, 200]
            regions.pos = [800, 200]
            app.graph.add(load); app.graph.add(regions)
            Object.assign(app.canvas.ds, { scale: 1, offset: [0, 0] })
            load.widgets.find(w => w.name === 'image').value = 'example.png'
            load.connect(0, regions, 'image')
        }"""
    )
    client.wait_for_function(f"() => ({PICTURE})() === 256")
    client.locator(".freescale-regions canvas").last.dblclick()
    # Not image.decode(): that fails before the image has its source.
    loaded = "async image => { for (let n = 0; n < 600 && !image.naturalWidth; n++) await new Promise(r => setTimeout(r, 50)); return image.naturalWidth }"
    assert client.frame_locator(FRAME).locator("#backdrop").evaluate(loaded) == 256
    client.evaluate("document.querySelector('.freescale-painter').close()")


def test_a_wired_mask_is_the_ground_of_the_painting(client):
    client.evaluate(
        """() => {
            app.graph.clear()
            const [load, mask, regions] = ['LoadImage', 'SolidMask', 'RegionDetailMask'].map(type => LiteGraph.createNode(type))
            for (const node of [load, mask, regions]) app.graph.add(node)
            const set = { image: 'example.png', width: 256, height: 64, value: 1 }
            for (const node of [load, mask]) for (const widget of node.widgets) if (widget.name in set) widget.value = set[widget.name]
            load.connect(0, regions, 'image')
            mask.connect(0, regions, 'mask')
            regions.freescaleRegions.element.querySelector('.fetch').click()
        }"""
    )
    client.wait_for_function(f"() => ({REGIONS})().freescaleRegions.mask", timeout=30_000)
    ground = client.evaluate(f"() => Array.from(({REGIONS})().freescaleRegions.ground().base(8, 2))")
    assert ground == [3] * 16  # detail_inside, everywhere


@pytest.mark.parametrize(
    "text", ['{"version": 9}', '{"version": 1, "shapes": [null]}', '{"version": 1, "shapes": [], "aspect": "x"}', "left"]
)
def test_what_the_painter_cannot_read_is_kept(region, text):
    set_values(region, regions=text)
    painter = Painter(region)
    painter.press("Control+z")
    assert region.evaluate(VALUE) == text  # looking does not change it
    painter.drag((0.2, 0.2), (0.8, 0.2))
    assert len(painter.shapes) == 1
    painter.page.get_by_role("button", name="Discard changes").click()
    region.wait_for_function("!document.querySelector('.freescale-painter')")
    assert region.evaluate(VALUE) == text


def test_light_theme_and_another_language(region, server, artifacts):
    before = region.evaluate("() => ['Comfy.ColorPalette', 'Comfy.Locale'].map(id => app.extensionManager.setting.get(id))")
    try:
        region.evaluate("async () => { await app.extensionManager.setting.set('Comfy.ColorPalette', 'light') }")
        region.evaluate("async () => { await app.extensionManager.setting.set('Comfy.Locale', 'ja') }")
        region.wait_for_timeout(500)
        painter = Painter(region)
        words = json.loads((ROOT / "locales" / "ja" / "main.json").read_text("utf-8"))["freescalePainter"]
        assert (
            painter.page.get_by_text(words["brush"], exact=True).count()
            and painter.frame.evaluate("document.documentElement.lang") == "ja"
        )
        dark = painter.frame.evaluate(
            "getComputedStyle(document.querySelector('header')).backgroundColor.match(/\\d+/g).map(Number)[0]"
        )
        assert dark > 128
        region.screenshot(path=artifacts / f"painter_light{'_nodes2' if region.nodes_2 else ''}.png")
    finally:
        for name, value in zip(("Comfy.ColorPalette", "Comfy.Locale"), before, strict=True):
            region.evaluate("async ([name, value]) => { await app.extensionManager.setting.set(name, value) }", [name, value])
