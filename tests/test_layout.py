"""What CONTRIBUTING's drawing promises: who imports what, where models are told apart, and how long a file may be."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = ROOT / "nodes" / "host"
PUBLIC = ("comfy_api.latest",)  # what a node declares itself with
LONGEST_PRODUCT, LONGEST_TEST = 250, 499  # lines
# Modules of ComfyUI's whose classes are models, or what models are built of.
MODELS = ("comfy.model_base", "comfy.ldm", "comfy.supported_models", "comfy.model_sampling")
BUILD_MODELS = [HOST / "demo.py", HOST / "temporal.py", *(HOST / "videocrafter").glob("*.py")]


def product() -> list[Path]:
    return [
        ROOT / "__init__.py",
        *(path for folder in ("nodes", "freescale_core") for path in sorted((ROOT / folder).rglob("*.py"))),
    ]


def imported(path: Path) -> set[str]:
    """Modules that a file imports, with what it takes of them; those of the pack's own begin with a dot."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {"." * node.level + ".".join(filter(None, (node.module, alias.name))) for alias in node.names}
    return names


def of_the_host(name: str) -> bool:
    return name.split(".")[0].startswith(("comfy", "server", "nodes", "folder_paths", "latent_preview", "execution"))


@pytest.mark.parametrize("path", product(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_host_folder_touches_comfyui(path):
    used = {name for name in imported(path) if of_the_host(name) and not name.startswith(PUBLIC)}
    assert not used or HOST in path.parents


@pytest.mark.parametrize("path", sorted(HOST.rglob("*.py")), ids=lambda path: str(path.relative_to(HOST)))
def test_only_families_name_models(path):
    """But for the module of the attention's functions, and the models that the host has no loader for."""
    named = {name for name in imported(path) if name.startswith(MODELS)} - {"comfy.ldm.modules.attention"}
    assert not named or path in BUILD_MODELS or HOST / "family" in path.parents


def test_data_flows_one_way():
    """Nothing of freescale_core or nodes/host imports a node."""
    for path in HOST.rglob("*.py"):
        depth = len(path.relative_to(ROOT).parts) - 1
        for name in imported(path):
            if name.startswith("."):
                level = len(name) - len(name.lstrip("."))
                base = path.relative_to(ROOT).parts[: depth + 1 - level]
                target = "/".join((*base, name.lstrip(".").replace(".", "/")))
                assert target.startswith(("nodes/host", "freescale_core", "nodes/demo/config")), f"{path.name} imports {target}"


def test_no_file_needs_a_map():
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in product()}
    lengths |= {path: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "js").rglob("*.js")}
    assert {str(path): n for path, n in lengths.items() if n > LONGEST_PRODUCT} == {}
    tests = {path: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert {str(path): n for path, n in tests.items() if n > LONGEST_TEST} == {}
