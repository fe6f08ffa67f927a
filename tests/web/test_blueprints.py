"""The blueprints of subgraphs/: a person finds them by name, wires them into an ordinary workflow and runs it."""

import pytest
from editor import WIDGETS, default_value, double_click, run, set_values

from tools.folders import ROOT

NAMES = sorted(path.stem for path in (ROOT / "subgraphs").glob("*.json"))
PROMPT = "async () => (await app.graphToPrompt()).output"
# The ordinary workflow around it: the demo model's picture, or a picture of one's own; and a preview.
WIRE = """() => {
    const add = type => (app.graph.add(LiteGraph.createNode(type)), app.graph._nodes.at(-1))
    const [blueprint] = app.graph._nodes, demo = add('FreeScaleDemoModel'), decoded = add('PreviewImage')
    const wire = (from, output, to, input) => {
        const slot = to.inputs.findIndex(i => i.name === input)
        if (slot >= 0) from.connect(from.outputs.findIndex(o => o.name.toLowerCase() === output), to, slot)
    }
    for (const name of ['model', 'positive', 'negative', 'vae']) wire(demo, name, blueprint, name)
    if (blueprint.inputs.some(i => i.name === 'image')) wire(add('LoadImage'), 'image', blueprint, 'image')
    else wire(add('EmptyLatentImage'), 'latent', blueprint, 'latent_image')
    wire(blueprint, 'image', decoded, 'images')
}"""


def inside(prompt: dict) -> dict:
    """Each node's inputs by its type; a link is the type that it comes from and the output's place."""
    types = {number: node["class_type"] for number, node in prompt.items()}
    return {
        node["class_type"]: {
            name: [types[value[0]], value[1]] if isinstance(value, list) else value for name, value in node["inputs"].items()
        }
        for node in prompt.values()
    }


def defaults(info: dict) -> dict:
    """What a node's widgets say in a new node."""
    specs = {**info["input"]["required"], **info["input"].get("optional", {})}
    return {
        name: default_value(kind, dict(*options))
        for name, (kind, *options) in specs.items()
        if isinstance(kind, list) or kind in WIDGETS
    }


@pytest.mark.parametrize("name", NAMES)
def test_blueprint(client, server, artifacts, name):
    client.evaluate("() => app.graph.clear()")
    double_click(client, 1500, 700)
    client.locator("[role=search] [role=combobox]:focus").wait_for()  # or the canvas would take the letters for its shortcuts
    client.keyboard.type(name, delay=20)
    client.get_by_role("option").filter(has_text=name).first.click()
    client.wait_for_function("() => app.graph._nodes.length === 1 && !document.querySelector('[role=search]')")
    client.mouse.click(1500, 700)  # puts it down
    client.keyboard.press("Escape")

    stages = {"FreeScale 4K": "2x, 2x", "FreeScale enhance": "2x"}[name]
    source = {"FreeScale 4K": {}, "FreeScale enhance": {"image": ["ImageScaleToTotalPixels", 0]}}[name]
    nodes = inside(client.evaluate(PROMPT))
    fusion, dilation, cascade = (nodes[n] for n in ("ScaleFusionAttentionPatch", "RestrainedDilation", "SelfCascadeUpscale"))
    known = server.object_info
    assert fusion == {**defaults(known["ScaleFusionAttentionPatch"]), "preset": "Exact"}
    assert dilation == {**defaults(known["RestrainedDilation"]), "model": ["ScaleFusionAttentionPatch", 0]}
    expected = {**defaults(known["SelfCascadeUpscale"]), "stages": stages, "model": ["RestrainedDilation", 0], **source}
    assert cascade == expected

    values = {"stages": "1.25x", "seed": 7, "denoise": 0.5, "detail": 1.5, "steps": 4, "cfg": 3, "sampler_name": "heun",
              "scheduler": "karras", "preset": "Fast", "megapixels": 0.07, "width": 256, "height": 256}  # fmt: skip
    client.evaluate(WIRE)
    set_values(client, **values)
    client.screenshot(path=artifacts / f"{name}{'_nodes2' if client.nodes_2 else ''}.png")
    nodes = inside(client.evaluate(PROMPT))
    wired = {key: ["FreeScaleDemoModel", place] for place, key in enumerate(("model", "positive", "negative", "vae"))}
    start = source or {"latent_image": ["EmptyLatentImage", 0]}
    changed = {key: value for key, value in values.items() if key in expected}
    assert nodes["SelfCascadeUpscale"] == {**expected, **wired, **start, **changed, "model": ["RestrainedDilation", 0]}
    assert nodes["ScaleFusionAttentionPatch"] == {**fusion, "preset": "Fast", "model": wired["model"]}
    run(client)
    assert client.faults == []
