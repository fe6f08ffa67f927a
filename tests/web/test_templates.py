"""The shared workflows on a small laptop: they open whole and readable, survive a save, and send the right prompt."""

import pytest
from editor import (
    COMPLAINTS,
    LAPTOP,
    NAMES,
    READABLE,
    RENDERERS,
    SAVE,
    UNKNOWN_NODES,
    fits_templates,
    open_client,
    open_template,
    saved,
    values,
)

from tools.workflows import to_prompt

OUT_OF_SIGHT = """() => {
    const view = app.canvas.ds, { width, height } = app.canvas.canvas.getBoundingClientRect()
    return app.graph._nodes.filter(({ pos, size, flags }) => {
        const left = (pos[0] + view.offset[0]) * view.scale, top = (pos[1] - 30 + view.offset[1]) * view.scale
        const right = left + size[0] * view.scale, bottom = top + (30 + (flags.collapsed ? 0 : size[1])) * view.scale
        return left < 0 || top < 0 || right > width || bottom > height
    }).map(node => node.title)
}"""
NOTES_CUT_OFF = """() => app.graph._nodes.filter(n => n.type === 'MarkdownNote').filter(n => {
    const root = n.widgets[0].element
    return [root, ...root.querySelectorAll('div')].some(e => e.scrollHeight > e.clientHeight + 2)
}).map(n => n.title)"""
OVERLAPS = """() => {
    const boxes = [...document.querySelectorAll('[data-node-id]')].map(e => [e.dataset.nodeId, e.getBoundingClientRect()])
    return boxes.flatMap(([i, a]) => boxes.filter(([j, b]) => i < j && a.left < b.right && b.left < a.right &&
        a.top < b.bottom && b.top < a.bottom).map(([j]) => [i, j]))
}"""
OUT_OF_FRAME = """() => {
    const view = app.canvas.ds, canvas = app.canvas.canvas.getBoundingClientRect()
    const at = (x, y) => [canvas.left + (x + view.offset[0]) * view.scale, canvas.top + (y + view.offset[1]) * view.scale]
    return app.graph._groups.flatMap(({title, pos, size}) => {
        const [left, top] = at(pos[0], pos[1]), [right, bottom] = at(pos[0] + size[0], pos[1] + size[1])
        return [...document.querySelectorAll('[data-node-id]')].filter(element => {
            const box = element.getBoundingClientRect(), x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2
            const inside = left < x && x < right && top < y && y < bottom
            return inside && (box.left < left || box.top < top || box.right > right || box.bottom > bottom)
        }).map(element => [title, element.dataset.nodeId])
    })
}"""
TOO_SMALL = """() => app.graph._nodes.filter(
    n => n.size[0] < n.computeSize()[0] || n.size[1] < n.computeSize()[1]).map(n => n.type)"""


@pytest.fixture(scope="session", params=RENDERERS)  # wider than a template's, or each would open the client anew
def client(request, server, browser):
    """The web client in a small window."""
    page = open_client(server, browser, request.param, *LAPTOP)
    yield page
    page.close()


@pytest.fixture(scope="module", params=NAMES)
def opened(request, client) -> dict:
    """A workflow, open in the client."""
    graph = saved(request.param)
    open_template(client, graph)
    client.wait_for_timeout(700)  # until everything is drawn, warnings too
    return {"name": request.param, **graph}


def test_opens_whole(client, opened):
    assert client.evaluate(UNKNOWN_NODES) == []
    assert client.evaluate(COMPLAINTS) == []
    assert client.faults == []


def test_looks_tidy(client, opened, artifacts):
    client.screenshot(path=artifacts / f"{opened['name']}{'_nodes2' if client.nodes_2 else ''}.png")
    if client.nodes_2:  # nodes grow with their content
        assert client.evaluate("document.querySelectorAll('[data-node-id]').length") == len(opened["nodes"])
        assert client.evaluate(OVERLAPS) == []
        assert client.evaluate(OUT_OF_FRAME) == []
    else:
        assert client.evaluate(TOO_SMALL) == []
        assert client.evaluate(NOTES_CUT_OFF) == []


def test_is_read_without_zooming(client, opened):
    """Newer clients fit a template into three quarters of the window, whatever view is saved with it."""
    assert client.evaluate("app.canvas.ds.scale") >= READABLE
    if fits_templates(client) or not client.nodes_2:  # older ones spread a graph in Nodes 2.0 and keep the saved view
        assert client.evaluate(OUT_OF_SIGHT) == []


def test_survives_a_save(client, opened):
    again = client.evaluate(SAVE)
    before = values(opened)
    # A newer host's node may have more widgets than the file, at its end.
    assert {node: kept[: len(before[node])] for node, kept in values(again).items()} == before
    assert sorted(again["links"]) == sorted(opened["links"])
    assert {n["id"]: n["type"] for n in again["nodes"]} == {n["id"]: n["type"] for n in opened["nodes"]}


def test_sends_the_prompt_that_the_tools_send(client, server, opened):
    sent, expected = client.evaluate("app.graphToPrompt()")["output"], to_prompt(opened, server.object_info)
    for node in (*sent.values(), *expected.values()):
        del node["_meta"]  # the title, which newer clients spell their own way
    assert sent == expected
