"""Every language has every text of the widgets and of the nodes, and no other. English node texts are those of the schemas."""

import json
import re

import pytest
from freescale.nodes import NODES

from tools.folders import ROOT

LANGUAGES = ["en", "zh", "ja", "ko", "de", "fr", "es"]
TRANSLATIONS = LANGUAGES[1:]
PARTS = ["freescalePainter", "freescaleCompare"]
SCRIPTS = ROOT / "js"
SYNTAX = "{}@|"  # the client reads its messages as templates, where these have a meaning


def read(language: str, name: str) -> dict:
    return json.loads((ROOT / "locales" / language / f"{name}.json").read_text("utf-8"))


def texts(language: str, part: str) -> dict[str, str]:
    return read(language, "main")[part]


def english() -> dict[str, dict]:
    """The texts of the nodes as the client keys them; an output that is called as its type gets its name from ComfyUI."""
    nodes = {}
    for node in NODES:
        schema, info = node.GET_SCHEMA(), node.GET_NODE_INFO_V1()
        nodes[schema.node_id] = {"display_name": schema.display_name, "description": schema.description}
        nodes[schema.node_id]["inputs"] = {e.id: {"name": e.id, "tooltip": e.tooltip} for e in schema.inputs}
        outputs = {}
        for number, (kind, name, tooltip) in enumerate(zip(info["output"], info["output_name"], info["output_tooltips"])):
            outputs[str(number)] = ({"name": name} if name != kind else {}) | {"tooltip": tooltip}
        if outputs:
            nodes[schema.node_id]["outputs"] = outputs
    return nodes


def flat(texts: dict, path: str = "") -> dict[str, str]:
    """{a: {b: text}} as {a.b: text}."""
    found = {}
    for key, value in texts.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return found


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"(?<![_\d])\d+(?:\.\d+)?", text))


def names(word: str, text: str) -> bool:
    """Whether a word stands alone in a text; letters of other scripts may touch it."""
    return bool(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.ASCII | re.IGNORECASE))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_has_every_text(language, part):
    english = texts("en", part)
    assert list(texts(language, part)) == list(english)
    assert all(text.strip() for text in texts(language, part).values())


def test_detail_has_one_name():
    """Only code and mathematics call it α; help pages and the templates' notes are read beside the node."""
    pages = [*(SCRIPTS / "docs").glob("*.md"), *(ROOT / "locales").glob("*/*.json"), *(ROOT / "workflows").glob("*.json")]
    assert len(pages) > 40
    assert not [path.name for path in pages if re.search(r"α|\balpha\b(?!\.jpg)", path.read_text("utf-8"), re.IGNORECASE)]


def test_no_other_language_is_there():
    folders = ROOT / "locales"
    assert sorted(path.parent.name for path in folders.glob("*/main.json")) == sorted(LANGUAGES)
    assert sorted(path.parent.name for path in folders.glob("*/nodeDefs.json")) == sorted(TRANSLATIONS)


def test_the_painter_uses_all_of_them_and_no_other():
    page = (SCRIPTS / "painter" / "page.js").read_text("utf-8")
    used = set(re.findall(r'data-(?:text|title)="(\w+)"', page))
    for script in (*SCRIPTS.glob("painter/*.js"), SCRIPTS / "region_detail.js"):
        used |= set(re.findall(r"texts\.(?!js)(\w+)", script.read_text("utf-8")))
    used |= set(re.findall(r'"(paint|paintHint|fetch|fetchHint)"', (SCRIPTS / "region_detail.js").read_text("utf-8")))
    assert used == set(texts("en", "freescalePainter"))


def test_the_comparer_uses_all_of_them_and_no_other():
    used = re.findall(r"texts\.(?!js)(\w+)", (SCRIPTS / "compare.js").read_text("utf-8"))
    assert set(used) == set(texts("en", "freescaleCompare"))


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_every_node_is_translated(language):
    original, translated = flat(english()), flat(read(language, "nodeDefs"))
    assert set(translated) == set(original)
    for key, text in translated.items():
        assert text and text == text.strip(), key
        assert not set(text) & set(SYNTAX), key
        if not key.endswith(".name"):
            assert numbers(text) == numbers(original[key]), key


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_what_an_error_message_names_is_found_on_the_node(language):
    """Messages call an input by its id, and an option by its value: where the label is another word, the tooltip says it."""
    nodes = read(language, "nodeDefs")
    for node in NODES:
        schema = node.GET_SCHEMA()
        for entry in schema.inputs:
            label, tooltip = nodes[schema.node_id]["inputs"][entry.id].values()
            assert names(entry.id, label) or names(entry.id, tooltip), f"{schema.node_id}.{entry.id}"
            for option in getattr(entry, "options", None) or []:
                if names(option, entry.tooltip):
                    assert names(option, tooltip), f"{schema.node_id}.{entry.id}: {option}"


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_a_node_is_called_the_same_everywhere(language):
    """Where a text sends a person to another node of the pack, it uses the title which that node has in this language."""
    original, translated = english(), read(language, "nodeDefs")
    for node, texts_of_node in original.items():
        mentions = flat(texts_of_node)
        for other, its in original.items():
            for key, text in mentions.items():
                if key != "display_name" and names(its["display_name"], text):
                    assert translated[other]["display_name"] in flat(translated[node])[key], f"{node}.{key}"


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_the_folders_of_the_node_library_are_translated(language):
    folders = {folder for node in NODES for folder in node.GET_SCHEMA().category.split("/")[1:]}
    assert set(texts(language, "nodeCategories")) == folders
