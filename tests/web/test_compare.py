"""The comparer in ComfyUI's own web client: two pictures of different sizes, moved and zoomed as one, with real events."""

import json

import numpy as np
import pytest
from editor import READY, show
from PIL import Image

from tools.folders import ROOT

COMPARE = "app.graph._nodes.find(n => n.type === 'FreeScaleCompare')"
STATE = f"""() => {{
    const node = {COMPARE}, element = document.querySelector('.freescale-compare')
    const canvas = app.canvas.ds, stage = element.querySelector('.stage')
    return {{
        filled: element.classList.contains('filled'),
        transforms: [...element.querySelectorAll('.frame')].map(f => getComputedStyle(f).transform),
        sizes: [...element.querySelectorAll('img')].map(i => [i.naturalWidth, i.naturalHeight]),
        boxes: [...element.querySelectorAll('img')].map(i => i.getBoundingClientRect()).map(b => [b.x, b.y, b.width, b.height]),
        panes: [...element.querySelectorAll('.pane')].map(p => p.getBoundingClientRect()).map(b => [b.x, b.y, b.width, b.height]),
        stage: (b => [b.x, b.y, b.width, b.height])(stage.getBoundingClientRect()),
        pixels: [...element.querySelectorAll('img')].map(i => getComputedStyle(i).imageRendering === 'pixelated'),
        divider: Number(stage.style.getPropertyValue('--divider')),
        zoom: Number(stage.style.getPropertyValue('--zoom')),
        graph: [canvas.scale, ...canvas.offset, ...node.pos],
    }}
}}"""
SIZES = [(128, 96), (1024, 768)]


def graph(*batches: int) -> dict:
    """Two LoadImage nodes, repeated to batches, into a comparer."""
    nodes, links = [], []
    for i, batch in enumerate(batches):
        load, repeat = 2 * i + 1, 2 * i + 2
        links += [[len(links) + 1, load, 0, repeat, 0, "IMAGE"], [len(links) + 2, repeat, 0, 5, i, "IMAGE"]]
        nodes += [
            {"id": load, "type": "LoadImage", "pos": [100, 200 + 450 * i], "size": [300, 350], "widgets_values": [f"{'ab'[i]}.png", "image"],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [2 * i + 1]}, {"name": "MASK", "type": "MASK"}]},
            {"id": repeat, "type": "RepeatImageBatch", "pos": [450, 200 + 450 * i], "size": [250, 60], "widgets_values": [batch],
             "inputs": [{"name": "image", "type": "IMAGE", "link": 2 * i + 1}], "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [2 * i + 2]}]},
        ]  # fmt: skip
    inputs = [{"name": name, "type": "IMAGE", "link": 2 * i + 2} for i, name in enumerate(("image_a", "image_b"))]
    nodes += [{"id": 5, "type": "FreeScaleCompare", "pos": [800, 200], "size": [700, 460], "inputs": inputs}]
    nodes = [{"flags": {}, "order": order, "mode": 0, "properties": {}, **node} for order, node in enumerate(nodes)]
    return {"nodes": nodes, "links": links, "last_node_id": 5, "last_link_id": 4, "version": 0.4}


@pytest.fixture(scope="session")
def pictures(server):
    """The same drawing at two sizes in the server's input folder; the larger has a texture that the smaller lacks."""
    for name, (width, height) in zip("ab", SIZES):
        y, x = np.mgrid[0:height, 0:width] / height
        disc = (np.hypot(x - 0.6, y - 0.5) < 0.3)[..., None]
        ground = np.stack([0.3 + 0.5 * y, 0.5 + 0.2 * x, 0.9 - 0.4 * y], -1)
        shade = np.where(disc, np.stack([0.9 + 0 * x, 0.6 * y + 0.2, 0.2 + 0 * x], -1), ground)
        if name == "b":
            shade *= 1 - 0.25 * (np.sin(120 * x) * np.sin(120 * y) > 0.3)[..., None]
        Image.fromarray((255 * shade.clip(0, 1)).astype(np.uint8)).save(server.workdir / "input" / f"{name}.png")


def run(client) -> None:
    """Press Run and wait for the pictures."""
    client.get_by_test_id("queue-button").click()
    client.wait_for_function(f"() => ({STATE})().filled", timeout=60_000)
    settled(client)


def opened(client, *batches: int) -> None:
    """A graph in the middle of the screen, not yet run; the graph is zoomed, so that nothing relies on 1:1."""
    show(client, graph(*batches or (1, 1)))
    client.evaluate("() => { Object.assign(app.canvas.ds, { scale: 1.25, offset: [100, 50] }); app.canvas.setDirty(true, true) }")
    client.wait_for_function("document.querySelectorAll('.freescale-compare').length === 1")
    client.wait_for_timeout(300)  # until the widget is where the node is


@pytest.fixture
def compared(client, pictures):
    """Two pictures in a fresh comparer."""
    opened(client)
    run(client)
    yield client
    assert client.faults == []


def state(client) -> dict:
    return client.evaluate(STATE)


def settled(client) -> dict:
    """The state once it stays as it is: on a busy machine the layout follows late."""
    before = None
    for _ in range(50):
        if (now := state(client)) == before:
            return now
        before = now
        client.wait_for_timeout(100)
    raise AssertionError(f"never at rest: {before}")


def shot(client, artifacts, name: str) -> None:
    client.locator(".freescale-compare").screenshot(path=artifacts / f"compare_{name}{'_nodes2' if client.nodes_2 else ''}.png")


def place(now: dict, pane: int, x: float, y: float) -> tuple[float, float]:
    """A place on the screen, from parts of a pane."""
    left, top, width, height = now["panes"][pane]
    return left + x * width, top + y * height


def on_picture(now: dict, pane: int, at: tuple[float, float]) -> list[float]:
    """The part of the picture that is at a place on the screen."""
    left, top, width, height = now["boxes"][pane]
    return [(at[0] - left) / width, (at[1] - top) / height]


def moved(client, start, end) -> None:
    client.mouse.move(*start)
    client.mouse.down()
    client.mouse.move(*end, steps=5)
    client.mouse.up()


def test_a_hint_first_and_then_both_pictures(client, pictures, artifacts):
    opened(client)
    assert client.locator(".freescale-compare .hint").inner_text().startswith("Run to compare")
    assert not state(client)["filled"]
    shot(client, artifacts, "hint")
    run(client)
    now = state(client)
    assert now["sizes"] == [list(size) for size in SIZES]
    for box, (left, top, width, height) in zip(now["boxes"], now["panes"]):  # each fills its pane, in its middle
        shown = min(width, height * 4 / 3)
        assert box == pytest.approx([left + (width - shown) / 2, top + (height - shown * 3 / 4) / 2, shown, shown * 3 / 4], abs=1)
    assert not client.locator(".freescale-compare .batch").is_visible()
    assert client.evaluate(f"() => {COMPARE}.imgs ?? null") is None  # the client adds no preview of its own
    shot(client, artifacts, "side")
    client.screenshot(path=artifacts / f"compare_graph{'_nodes2' if client.nodes_2 else ''}.png")
    assert client.faults == []


@pytest.mark.parametrize("pane", [0, 1])
def test_the_wheel_zooms_both_at_the_pointer_and_not_the_graph(compared, artifacts, pane):
    before = state(compared)
    at = place(before, pane, 0.7, 0.4)
    compared.mouse.move(*at)
    for _ in range(8):
        compared.mouse.wheel(0, -100)
    compared.wait_for_function(f"() => ({STATE})().zoom > 3")
    now = state(compared)
    assert now["transforms"][0] == now["transforms"][1] != before["transforms"][0]
    assert on_picture(now, pane, at) == pytest.approx(on_picture(before, pane, at), abs=0.005)
    assert now["graph"] == before["graph"]
    shot(compared, artifacts, "zoomed")
    for _ in range(6):
        compared.mouse.wheel(0, -100)
    compared.wait_for_function(f"() => ({STATE})().zoom > 7")
    assert state(compared)["pixels"] == [True, False]
    shot(compared, artifacts, "pixels")
    for _ in range(40):
        compared.mouse.wheel(0, 100)
    compared.wait_for_function(f"() => ({STATE})().zoom === 1")
    now = state(compared)
    assert now["transforms"] == before["transforms"] and now["graph"] == before["graph"]


def test_a_drag_moves_both_and_a_double_click_fits(compared):
    before = state(compared)
    compared.mouse.move(*place(before, 0, 0.5, 0.5))
    compared.mouse.wheel(0, -1000)
    compared.wait_for_function(f"() => ({STATE})().zoom > 3")
    zoomed = settled(compared)
    moved(compared, place(zoomed, 1, 0.5, 0.5), place(zoomed, 1, 0.8, 0.6))
    now = state(compared)
    assert now["transforms"][0] == now["transforms"][1]
    shift = [0.3 * zoomed["panes"][1][2], 0.1 * zoomed["panes"][1][3]]
    for pane in (0, 1):  # the pictures stay under the pointer
        assert np.subtract(now["boxes"][pane], zoomed["boxes"][pane]) == pytest.approx([*shift, 0, 0], abs=1.5)
    assert now["graph"] == before["graph"]
    moved(compared, place(zoomed, 0, 0.1, 0.1), place(zoomed, 0, 5, 5))  # far out
    assert state(compared)["boxes"][0][:2] == pytest.approx(before["boxes"][0][:2], abs=1)  # stops where the edge was at first
    compared.mouse.dblclick(*place(now, 0, 0.5, 0.5))
    assert state(compared)["transforms"] == before["transforms"]


def test_the_slider_follows_its_handle(compared, artifacts):
    before = state(compared)
    compared.get_by_role("button", name="Slider").click()
    now = state(compared)
    assert now["panes"] == [now["stage"]] * 2
    shot(compared, artifacts, "slider")
    start, end = place(now, 0, 0.5, 0.5), place(now, 0, 0.25, 0.3)
    moved(compared, start, end)
    now = state(compared)
    assert now["divider"] == pytest.approx(0.25, abs=0.005) and now["graph"] == before["graph"] and now["zoom"] == 1
    there = "([x, y]) => [...document.querySelectorAll('.freescale-compare .pane')].indexOf(document.elementFromPoint(x, y).closest('.pane'))"
    assert [compared.evaluate(there, place(now, 0, x, 0.5)) for x in (0.15, 0.35)] == [0, 1]  # A left of it, B right
    compared.mouse.move(*place(now, 0, 0.6, 0.6))
    compared.mouse.wheel(0, -600)
    compared.wait_for_function(f"() => ({STATE})().zoom > 2")
    now = state(compared)
    assert now["boxes"][0] == pytest.approx(now["boxes"][1], abs=0.01) and now["divider"] == pytest.approx(0.25, abs=0.005)
    shot(compared, artifacts, "slider_zoomed")
    kept = compared.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    show(compared, kept)  # the choice is in the file, and nothing else is
    compared.wait_for_function("document.querySelectorAll('.freescale-compare.slider').length === 1")
    [node] = [node for node in kept["nodes"] if node["type"] == "FreeScaleCompare"]
    assert not [value for value in node.get("widgets_values") or [] if value is not None]
    assert list(compared.evaluate("app.graphToPrompt()")["output"]["5"]["inputs"]) == ["image_a", "image_b"]


def test_by_keyboard_alone(compared):
    before = state(compared)
    compared.locator(".freescale-compare .stage").focus()
    for key in ("+", "+", "="):
        compared.keyboard.press(key)
    zoomed = state(compared)
    assert zoomed["zoom"] == pytest.approx(1.25**3)
    compared.keyboard.press("ArrowRight")
    compared.keyboard.press("ArrowDown")
    now = state(compared)
    assert now["boxes"][1][0] < zoomed["boxes"][1][0] and now["boxes"][1][1] < zoomed["boxes"][1][1]
    compared.keyboard.press("-")
    assert state(compared)["zoom"] == pytest.approx(1.25**2)
    compared.keyboard.press("0")
    assert state(compared)["transforms"] == before["transforms"] and state(compared)["graph"] == before["graph"]
    compared.get_by_role("button", name="Slider").press("Enter")
    compared.get_by_role("slider", name="Divider between the pictures").focus()
    compared.keyboard.press("ArrowLeft")
    assert state(compared)["divider"] == pytest.approx(0.48)
    compared.keyboard.press("0")
    names = [
        compared.locator(f".freescale-compare {name}").get_attribute("aria-label") for name in (".stage", ".previous", ".next")
    ]
    assert all(names)


def test_a_batch_has_a_picker_and_a_single_picture_repeats(client, pictures, artifacts):
    opened(client, 1, 3)
    run(client)
    sources = (
        "() => [...document.querySelectorAll('.freescale-compare img')].map(i => new URL(i.src).searchParams.get('filename'))"
    )
    picker = client.locator(".freescale-compare .batch")
    seen = []
    for number in (1, 2, 3, 1):
        client.wait_for_function(f"number => ({sources})()[1].includes(`_0000${{number}}_`)", arg=number)
        assert picker.inner_text().split() == ["‹", str(number), "/", "3", "›"]
        seen.append(client.evaluate(sources))
        if number == 2:
            shot(client, artifacts, "batch")
        client.get_by_role("button", name="Next pair").click()
    assert len({a for a, _ in seen}) == 1 and len({b for _, b in seen}) == 3
    client.get_by_role("button", name="Previous pair").click()
    client.wait_for_function(f"() => ({sources})()[1].includes('_00001_')")
    assert client.faults == []


def test_pictures_come_back_with_the_tab_and_the_hint_with_the_page(compared):
    compared.wait_for_timeout(1500)  # the client keeps a draft of an unsaved workflow
    compared.evaluate("() => app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    compared.wait_for_function("() => !app.graph._nodes.length")
    compared.evaluate("() => app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    compared.wait_for_function(f"() => {COMPARE}")
    compared.wait_for_function(f"() => ({STATE})().filled")
    compared.wait_for_timeout(1500)
    compared.reload()
    compared.wait_for_function(READY, timeout=60_000)
    compared.wait_for_function(f"() => {COMPARE}", timeout=20_000)
    compared.locator(".freescale-compare .stage").wait_for()
    assert compared.locator(".freescale-compare .hint").is_visible() is not state(compared)["filled"]


def test_in_another_language(client, pictures):
    before = client.evaluate("() => app.extensionManager.setting.get('Comfy.Locale')")
    words = json.loads((ROOT / "locales" / "ja" / "main.json").read_text("utf-8"))["freescaleCompare"]
    use = "async value => { await app.extensionManager.setting.set('Comfy.Locale', value) }"
    try:
        client.evaluate(use, "ja")
        opened(client)
        assert client.locator(".freescale-compare .hint").inner_text().startswith(words["hint"])
    finally:
        client.evaluate(use, before)
