"""What a real server offers of the pack beside its nodes: help pages, templates, and texts on everything a person sets."""

import re
import urllib.request
from io import BytesIO

from PIL import Image

from tools.folders import PACK_NAME, ROOT

INTERNAL = ("FreeScaleCascadeStage", "FreeScaleStagePictures")
CATEGORIES = {
    "FreeScale/rivals": "FreeScaleRival",
    "FreeScale/compare": ("FreeScaleTimer", "FreeScaleCaption", "FreeScaleGrid", "FreeScaleCompare"),
}


def fetched(comfy, path: str) -> bytes:
    with urllib.request.urlopen(comfy.server.url + path) as answer:
        return answer.read()


def public_nodes(comfy) -> list[str]:
    return [name for name in comfy.server.node_ids() if name not in INTERNAL]


def test_every_node_has_a_help_page_and_tooltips(comfy):
    assert len(public_nodes(comfy)) == 15
    for name in public_nodes(comfy):
        info = comfy.object_info[name]
        page = fetched(comfy, f"/extensions/{PACK_NAME}/docs/{name}.md").decode()
        assert page.startswith(f"# {info['display_name']}\n")
        pictures = re.findall(r"!\[[^]]+\]\((.+?)\)", page)
        assert pictures, f"{name} has no picture"
        for picture in pictures:
            assert fetched(comfy, f"/extensions/{PACK_NAME}/docs/{picture}").startswith(b"\xff\xd8")
        assert info["description"]
        [category] = {folder for folder, names in CATEGORIES.items() if name.startswith(names)} or {"FreeScale"}
        assert info["category"] == category
        for group in ("required", "optional"):
            for entry, (_, options) in info["input"].get(group, {}).items():
                assert options.get("tooltip"), f"{name}.{entry}"
                shown = "picture_1` … `picture_9" if entry.startswith("picture_") else entry
                assert f"`{shown}`" in page, f"the help page of {name} says nothing of {entry}"


def test_the_workflows_are_templates(comfy):
    names = {path.stem for path in (ROOT / "workflows").glob("*.json")}
    assert set(comfy.server.get("/workflow_templates")[PACK_NAME]) == names
    for name in names:
        thumbnail = fetched(comfy, f"/api/workflow_templates/{PACK_NAME}/{name}.jpg")
        assert min(Image.open(BytesIO(thumbnail)).size) >= 256 and len(thumbnail) < 200_000
