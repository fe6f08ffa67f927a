"""The editor in another language: what a person reads on a node of the pack, and when the pointer rests on a setting.

German where the client takes it: the newest have none. Else French: there some clients before them, 1.32 for one, put their
own texts in place of those of all packs.
"""

import json

import pytest
from editor import RENDERERS, alone, open_client, show

from tools.folders import ROOT

KIND, SETTING = "SelfCascadeUpscale", "denoise"
LANGUAGE = "app.extensionManager.setting.get('Comfy.Locale')"
SHOWN = """() => {
    const [node] = app.graph._nodes
    return { title: node.title, inputs: node.inputs.map(i => i.label ?? i.localized_name),
             widgets: node.widgets.map(w => w.label ?? w.name), output: node.outputs[2].localized_name }
}"""
PLACE = """name => {
    const [node] = app.graph._nodes, [left, top] = app.canvas.ds.convertOffsetToCanvas(node.pos)
    const box = app.canvas.canvas.getBoundingClientRect(), widget = node.widgets.find(w => w.name === name)
    return [box.left + left + 60, box.top + top + widget.y + 10]
}"""


@pytest.fixture(scope="module", params=RENDERERS)
def foreign(request, server, browser):
    """The client in another language than English, with a cascade on its canvas."""
    try:
        for language in ("de", "fr"):
            server.post("/settings/Comfy.Locale", language)
            page = open_client(server, browser, request.param, width=1500)
            if page.evaluate(LANGUAGE) == language:
                break
            page.close()
        page.texts = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text("utf-8"))[KIND]
        show(page, alone(KIND, pos=[300, 200]))
        page.evaluate("() => { app.canvas.ds.reset(); app.canvas.setDirty(true, true) }")
        yield page
        page.close()
    finally:
        server.post("/settings/Comfy.Locale", "en")


def test_a_node_wears_its_texts(foreign):
    shown = foreign.evaluate(SHOWN)
    labels = {text["name"] for text in foreign.texts["inputs"].values()}
    assert shown["title"] == foreign.texts["display_name"]
    assert labels <= {*shown["inputs"], *shown["widgets"]}
    assert shown["output"] == foreign.texts["outputs"]["2"]["name"]


def test_a_setting_explains_itself(foreign):
    text = foreign.texts["inputs"][SETTING]
    bubble = foreign.get_by_text(text["tooltip"]).first
    assert not bubble.is_visible()
    if foreign.nodes_2:
        foreign.locator("[data-node-id='1']").get_by_text(text["name"], exact=True).first.hover()
    else:
        x, y = foreign.evaluate(PLACE, SETTING)
        foreign.mouse.move(x, y, steps=2)
    bubble.wait_for()
