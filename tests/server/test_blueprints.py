"""The blueprints of subgraphs/, wired into a graph as the editor saves it, converted and run without an editor."""

import json

import pytest
from freescale.nodes.host.demo import HAS_TEXT_ALONE

from tools.folders import ROOT
from tools.workflows import to_prompt

NAMES = sorted(path.stem for path in (ROOT / "subgraphs").glob("*.json"))
SOURCES = {  # node id → its type, values, and the names and types of its outputs
    2: ("FreeScaleDemoModel", ["no", 0.1, "portrait", "U-Net"],
        [("model", "MODEL"), ("positive", "CONDITIONING"), ("negative", "CONDITIONING"), ("vae", "VAE")]),
    3: ("EmptyLatentImage", [256, 256, 1], [("latent_image", "LATENT")]),
    4: ("LoadImage", ["example.png", "image"], [("image", "IMAGE"), ("MASK", "MASK")]),
}  # fmt: skip


def wired(name: str) -> dict:
    """The blueprint with everything that it takes, and a node that saves its picture."""
    graph = json.loads((ROOT / "subgraphs" / f"{name}.json").read_text("utf-8"))
    [blueprint] = graph["nodes"]
    for number, (kind, values, outputs) in SOURCES.items():
        named = [{"name": output, "type": kind} for output, kind in outputs]
        graph["nodes"].append({"id": number, "type": kind, "widgets_values": values, "inputs": [], "outputs": named})
        for slot, (output, kind) in enumerate(outputs):
            for place, entry in enumerate(blueprint["inputs"]):
                if entry["name"] == output:
                    entry["link"] = len(graph["links"]) + 1
                    graph["links"].append([entry["link"], number, slot, blueprint["id"], place, kind])
    last = len(graph["links"]) + 1
    graph["links"].append([last, blueprint["id"], 0, 9, 0, "IMAGE"])
    save = {"id": 9, "type": "SaveImage", "widgets_values": ["blueprint"], "outputs": []}
    graph["nodes"].append({**save, "inputs": [{"name": "images", "type": "IMAGE", "link": last}]})
    return graph


@pytest.mark.parametrize("network", ["U-Net", *["transformer"] * HAS_TEXT_ALONE])
@pytest.mark.parametrize("name", NAMES)
def test_blueprint_becomes_a_prompt_and_runs(comfy, name, network):
    """With both kinds of models, at sizes that are enlarged."""
    graph = wired(name)
    faces = graph["nodes"][0]
    widgets = [entry["name"] for entry in faces["inputs"] if "widget" in entry]
    chosen = {"stages": "1.5x", "seed": 7, "steps": 4, "preset": "Fast", "megapixels": 0.06}
    faces["widgets_values"] = [chosen.get(key, value) for key, value in zip(widgets, faces["widgets_values"], strict=True)]
    prompt = to_prompt(graph, comfy.object_info)
    cascade, fusion = (prompt[comfy.find(prompt, kind)] for kind in ("SelfCascadeUpscale", "ScaleFusionAttentionPatch"))
    assert {key: cascade["inputs"][key] for key in ("stages", "seed", "steps")} == {"stages": "1.5x", "seed": 7, "steps": 4}
    assert fusion["inputs"]["preset"] == "Fast" and fusion["inputs"]["model"] == ["2", 0]
    prompt["2"]["inputs"]["network"] = network
    run = comfy.run(prompt)
    assert run.ending == "execution_success", run.error
    assert all(picture.std() > 1 for picture in run.pictures) and run.pictures
