"""Workflows made into prompts; that they are the editor's own is what tests/web says of every template."""

import copy

import pytest

from tools.console import Trouble
from tools.processes import TOOLS_PYTHON
from tools.workflows import to_prompt

INFO = {
    "Load": {"input": {"required": {"name": [["a", "b"], {}]}}, "output": ["MODEL", "VAE"]},
    "Patch": {"input": {"required": {"model": ["MODEL"], "strength": ["FLOAT", {"default": 1.0}]}}, "output": ["MODEL"]},
    "Sample": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "seed": ["INT", {"control_after_generate": True}],
                "steps": ["INT", {"default": 20}],
            },
            "optional": {"note": ["STRING", {"default": "none"}]},
        },
        "display_name": "Sampler",
    },
}
MUTED, BYPASSED = 2, 4
BOX = "12345678-1234-5234-9234-123456789abc"


def node(number, kind, values=(), inputs=(), outputs=(), **more):
    """A node as the editor saves it; inputs are (name, type, link), outputs types."""
    return {
        "id": number,
        "type": kind,
        "mode": 0,
        "widgets_values": list(values),
        "inputs": [{"name": name, "type": kind, "link": link} for name, kind, link in inputs],
        "outputs": [{"name": kind, "type": kind} for kind in outputs],
        **more,
    }


LOAD = node(1, "Load", ["b"], outputs=["MODEL", "VAE"])
PATCH = node(2, "Patch", [1.5], [("model", "MODEL", 5)], ["MODEL"])
SAMPLE = node(9, "Sample", [5, "randomize", 30], [("model", "MODEL", 6)])
CHAIN = [[5, 1, 0, 2, 0, "MODEL"], [6, 2, 0, 9, 0, "MODEL"]]


def convert(*nodes, links=(), **more):
    """The inputs of every converted node."""
    prompt = to_prompt({"nodes": list(nodes), "links": list(links), **more}, INFO)
    return {number: each["inputs"] for number, each in prompt.items()}


def test_widgets_are_read_by_position_and_links_by_name():
    assert convert(LOAD, node(3, "Note", ["hi"]), PATCH, SAMPLE, links=CHAIN) == {
        "1": {"name": "b"},
        "2": {"model": ["1", 0], "strength": 1.5},
        "9": {"model": ["2", 0], "seed": 5, "steps": 30, "note": "none"},
    }


@pytest.mark.parametrize("mode, model", [(MUTED, None), (BYPASSED, ["1", 0])])
def test_muted_nodes_cut_and_bypassed_nodes_pass_on(mode, model):
    result = convert(LOAD, {**PATCH, "mode": mode}, SAMPLE, links=CHAIN)
    assert result["9"].get("model") == model and "2" not in result


def test_subgraphs_are_taken_apart():
    links = [
        {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "MODEL"},
        {"id": 2, "origin_id": 2, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "MODEL"},
    ]
    box = {
        "id": BOX,
        "nodes": [node(2, "Patch", [1.5], [("model", "MODEL", 1)], ["MODEL"])],
        "links": links,
        "inputs": [{"name": "model", "type": "MODEL", "linkIds": [1]}],
        "outputs": [{"name": "MODEL", "type": "MODEL", "linkIds": [2]}],
    }
    instance = node(2, BOX, [], [("model", "MODEL", 5)], ["MODEL"])
    result = convert(LOAD, instance, SAMPLE, links=CHAIN, definitions={"subgraphs": [box]})
    assert result["2:2"] == {"model": ["1", 0], "strength": 1.5} and result["9"]["model"] == ["2:2", 0]
    box["nodes"][0]["type"] = "Nowhere"
    with pytest.raises(Trouble, match="Nowhere"):
        convert(instance, definitions={"subgraphs": [box]})


def test_unknown_nodes_are_named():
    with pytest.raises(Trouble, match="uses Elsewhere, Nowhere, which"):
        convert(node(1, "Nowhere"), node(2, "Elsewhere"), LOAD)


def test_what_is_no_workflow_is_told_in_a_sentence():
    with pytest.raises(Trouble, match="cannot be converted: .*missing 'nodes' or 'links'"):
        to_prompt({"nodes": []}, INFO)


def test_titles_are_kept_for_progress_and_errors():
    prompt = to_prompt({"nodes": [SAMPLE, {**LOAD, "title": "Mine"}], "links": []}, INFO)
    assert [each["_meta"]["title"] for each in prompt.values()] == ["Sampler", "Mine"]


def test_the_same_workflow_is_converted_once_and_given_out_afresh(monkeypatch):
    graph = {"nodes": [{**LOAD, "title": "again"}], "links": []}
    first = to_prompt(graph, INFO)
    kept = copy.deepcopy(first)
    first["1"]["inputs"]["name"] = "changed"
    monkeypatch.setenv(TOOLS_PYTHON, "/no/such/python")
    assert to_prompt(graph, INFO) == kept
