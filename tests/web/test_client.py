"""What the pack shows in ComfyUI's own web client."""

import re

import pytest
from editor import COMPLAINTS, SAVE, UNKNOWN_NODES, alone, open_help, saved, set_values, show, values

NAMED_VALUES = """() => app.graph._nodes.map(
    n => [n.id, (n.widgets ?? []).filter(w => w.name !== 'stage_text' && !w.name.startsWith('$$')).map(w => [w.name, w.value])])"""
NODE_SIDE = "() => app.graph._nodes[0].size[0] * app.canvas.ds.scale"  # of a square one, on the screen
STAGE_TEXTS = "() => [...document.querySelectorAll('.freescale-stage')].map(e => e.textContent)"
PICTURE_WIDTH = """([id, nodes2]) => {
    const found = nodes2 ? [...document.querySelectorAll(`[data-node-id="${id}"] img`)] : app.graph.getNodeById(id).imgs ?? []
    return found.find(i => i.naturalWidth)?.naturalWidth
}"""


def test_the_demo_runs_and_its_pictures_arrive(client):
    graph = saved("freescale_demo")
    show(client, graph)
    set_values(client, steps=2, stages="1.25x", seed=21 + client.nodes_2)
    before = values(client.evaluate(SAVE))
    client.get_by_test_id("queue-button").click()
    base, *stages = (node["id"] for node in graph["nodes"] if node["type"] == "SaveImage")
    for node, side in zip((base, *stages), (256, 320, 400), strict=True):
        client.wait_for_function("id => app.nodeOutputs[id]?.images?.length === 1", arg=node, timeout=90_000)
        width = client.wait_for_function(PICTURE_WIDTH, arg=[node, client.nodes_2], timeout=30_000)
        assert width.json_value() == side
    texts = client.evaluate(STAGE_TEXTS)
    assert [re.sub(r"\d+ s$", "? s", text) for text in texts] == [f"{side} × {side} px\n2 steps took ? s" for side in (320, 400)]
    again = client.evaluate(SAVE)
    assert values(again) == before  # what a stage has said stays on its node, but is none of the node's values
    named = client.evaluate(NAMED_VALUES)
    show(client, again)
    assert client.evaluate(NAMED_VALUES) == named
    assert client.faults == []


@pytest.mark.parametrize("inside", [False, True], ids=["on the canvas", "in a subgraph"])
def test_what_a_stage_says_finds_its_node_and_its_room(client, inside):
    show(client, alone("SelfCascadeUpscale", pos=[300, 200], size=[270, 100]))
    client.evaluate("() => { Object.assign(app.canvas.ds, { scale: 1, offset: [0, 0] }); app.canvas.setDirty(true, true) }")
    node = "1"
    if inside:
        node = client.evaluate(
            """async () => {
                const { node, subgraph } = app.graph.convertToSubgraph(new Set(app.graph._nodes))
                await new Promise(done => setTimeout(done, 500)) // until the client shows it
                app.canvas.setGraph(subgraph)
                return [node.id, subgraph._nodes[0].id].join(':')
            }"""
        )
    client.wait_for_timeout(2000)  # until the node has its size
    room = """() => {
        const element = document.querySelector('.freescale-stage'), style = getComputedStyle(element), [node] = app.canvas.graph._nodes
        return [node.size[0], node.size[1], element.clientHeight - element.scrollHeight, style.wordBreak, style.overflowWrap]
    }"""
    before = client.evaluate(room)
    text = "Stage 2 of 3: 4096 × 4096 px\nstep 12 of 35, about 1 h 20 min left"
    client.evaluate("detail => app.api.dispatchCustomEvent('freescale_stage', detail)", {"node": node, "text": text})
    client.wait_for_timeout(500)
    assert client.evaluate(STAGE_TEXTS) == [text]
    assert client.evaluate(room) == before and before[2:] == [0, "normal", "normal"]  # not taller, and broken between words only
    if inside:
        client.evaluate("app.canvas.setGraph(app.graph.rootGraph ?? app.rootGraph)")


def test_a_missing_node_would_be_noticed(client):
    """The checks above can fail."""
    graph = saved("freescale_demo")
    graph["nodes"][2]["type"] = "FreeScaleNoSuchNode"
    show(client, graph)
    client.wait_for_function(f"() => ({COMPLAINTS})().length")
    assert client.evaluate(UNKNOWN_NODES) == ["FreeScaleNoSuchNode"]
    assert "FreeScaleNoSuchNode" in client.evaluate(COMPLAINTS)[0]
    client.keyboard.press("Escape")
    show(client, saved("freescale_demo"))
    client.wait_for_function(f"() => !({COMPLAINTS})().length")


def test_the_help_page_shows_its_pictures(client, artifacts):
    show(client, saved("freescale_region_detail"))
    open_help(client, "RegionDetailMask")
    shown = "() => [...document.querySelectorAll('.node-help-content img')].filter(i => i.naturalWidth).map(i => i.src.split('/').at(-1))"
    client.wait_for_function(f"() => ({shown})().length === 2", timeout=30_000)
    assert client.evaluate(shown) == ["alpha.jpg", "painter.jpg"]
    client.screenshot(path=artifacts / f"help{'_nodes2' if client.nodes_2 else ''}.png")


WIDGETS = pytest.mark.parametrize(
    ("kind", "element"), [("FreeScaleCompare", ".freescale-compare"), ("RegionDetailMask", ".freescale-regions")]
)


@WIDGETS
def test_a_widget_is_dimmed_while_its_node_is_bypassed_or_muted(client, kind, element):
    opaque = """async ([element, mode]) => {
        app.graph._nodes[0].mode = mode
        app.canvas.setDirty(true, true)
        await new Promise(done => setTimeout(done, 300))
        let all = 1
        for (let e = document.querySelector(element); e; e = e.parentElement) all *= getComputedStyle(e).opacity
        return all
    }"""
    normal, muted, bypassed = 0, 2, 4
    show(client, alone(kind, pos=[100, 200], size=[700, 700]))
    client.locator(element).wait_for()
    assert client.evaluate(opaque, [element, normal]) == 1
    assert client.evaluate(opaque, [element, muted]) < 0.6
    assert client.evaluate(opaque, [element, bypassed]) < 0.6
    assert client.evaluate(opaque, [element, normal]) == 1


@WIDGETS
def test_a_widget_fills_its_node_and_the_properties_panel_leaves_it_so(client, kind, element):
    panel = """async open => {
        const name = 'Comfy.RightSidePanel.IsOpen' // older clients have no such panel
        if (name in app.ui.settings.settingsLookup) await app.extensionManager.setting.set(name, open)
    }"""
    show(client, alone(kind, pos=[100, 200], size=[700, 700]))
    try:
        client.evaluate(panel, True)
        client.evaluate("() => app.canvas.selectNode(app.graph._nodes[0])")
        client.wait_for_timeout(1000)  # until the panel shows the node
        if client.nodes_2:
            node = client.locator("[data-node-id='1']").bounding_box()
        else:
            node = dict.fromkeys(("width", "height"), client.evaluate(NODE_SIDE))
        widget = client.locator(element).bounding_box()
        assert 0.9 < widget["width"] / node["width"] < 1
        assert 0.5 < widget["height"] / node["height"] < 1  # the rest is slots, other widgets and the title
    finally:
        client.evaluate(panel, False)
