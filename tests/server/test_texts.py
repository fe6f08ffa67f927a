"""What a real server tells the editor of the nodes' texts: every language, search words, tooltips, and what is out of sight."""

import dataclasses
import json

from comfy_api.latest import io
from freescale.nodes import NODES

from tools.folders import ROOT

IN_SIGHT = {  # widgets that nobody has to look for
    "ScaleFusionAttentionPatch": ["global_attention", "preset"],
    "RestrainedDilation": ["preset", "end_percent"],
    "SelfCascadeUpscale": ["stages", "seed", "steps", "cfg", "sampler_name", "scheduler", "denoise", "detail"],
    "RegionDetailMask": ["regions", "detail_inside", "detail_outside", "feather"],
    "FreeScaleBlendSampler": ["detail"],
}
KNOWN = {field.name for field in dataclasses.fields(io.Schema)}  # to this host


def entries(info: dict) -> dict[str, dict]:
    """The options of each input."""
    return {name: options for kind in ("required", "optional") for name, (_, options) in info["input"].get(kind, {}).items()}


def test_every_language_is_served(comfy):
    served = comfy.server.get("/i18n")
    for folder in (ROOT / "locales").iterdir():
        texts = json.loads((folder / "main.json").read_text("utf-8"))
        if (folder / "nodeDefs.json").exists():
            texts["nodeDefs"] = json.loads((folder / "nodeDefs.json").read_text("utf-8"))
        assert served[folder.name] == texts


def test_every_input_and_output_has_a_tooltip(comfy):
    for node in NODES:
        info = comfy.object_info[node.GET_SCHEMA().node_id]
        assert all(options.get("tooltip") for options in entries(info).values()), info["name"]
        assert all(info["output_tooltips"]), info["name"]
        assert info["description"].count(". ") < 2, info["name"]


def test_every_node_is_found_by_other_words(comfy):
    for node in NODES:
        schema, info = node.GET_SCHEMA(), comfy.object_info[node.GET_SCHEMA().node_id]
        if "internal" in schema.category:
            assert schema.is_dev_only
            assert "is_dev_only" not in KNOWN or info["dev_only"]
            continue
        words = schema.search_aliases
        assert len(words) == len({word.lower() for word in words}) > 2, schema.node_id
        assert not [word for word in words if word.lower() in schema.display_name.lower()], "the title is searched anyway"
        assert "search_aliases" not in KNOWN or info["search_aliases"] == words


def test_only_what_has_a_good_default_is_out_of_sight(comfy):
    for node in NODES:
        for name, options in entries(comfy.object_info[node.GET_SCHEMA().node_id]).items():
            assert not options.get("advanced") or "default" in options, f"{node.__name__}.{name}"
    for name, wanted in IN_SIGHT.items():
        widgets = {key: options for key, options in entries(comfy.object_info[name]).items() if "default" in options}
        assert [key for key, options in widgets.items() if not options.get("advanced")] == wanted
