"""Loads a real ComfyUI into the test process, and the pack into it as the package `freescale`."""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMFYUI = Path(os.environ["FREESCALE_COMFYUI"])  # set by `python dev.py test`


def _load(name: str, path: Path, package: bool = False):
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)] if package else None)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Before any other import of comfy; the pack's root stays off sys.path, where its `nodes` would hide the host's.
sys.path.insert(0, str(COMFYUI))
import folder_paths  # noqa: E402
import utils.extra_config  # noqa: E402, F401  as main.py does: later the host's comfy/utils.py would take the name
from comfy.cli_args import args  # noqa: E402

args.cpu = "FREESCALE_GPU" not in os.environ  # which the bench sets
setattr(args, os.environ.get("FREESCALE_ATTENTION", "use_pytorch_cross_attention"), True)
folder_paths.set_temp_directory(tempfile.mkdtemp(prefix="freescale-"))  # the host that all tests share stays as it was unpacked
_load("freescale", ROOT / "__init__.py", package=True)
dev = _load("dev", ROOT / "dev.py")
_load("editor", ROOT / "tests" / "editor.py")
_load("families", ROOT / "tests" / "families.py")
_load("methods", ROOT / "tests" / "methods.py")
_load("oracle", ROOT / "tests" / "oracle.py")
for _folder, _names in {
    "bench": ("measure", "layer", "unet"),
    "quality": ("figures", "report"),
    "install": ("beginner",),
    "web/painter": ("painter",),
}.items():
    for _name in _names:
        _load(_name, ROOT / "tests" / _folder / f"{_name}.py")


def this_host():
    """The ComfyUI that these tests run in, for servers of it."""
    client = os.environ.get("FREESCALE_CLIENT")
    return dev.Host(Path(sys.executable), COMFYUI, Path(client) if client else None)


@pytest.fixture(scope="session")
def host():
    """See `this_host`."""
    return this_host()


@pytest.fixture(scope="session")
def chromium():
    """The path of the browser that shows the editor."""
    path = dev.find_chromium()
    if path is None:
        pytest.skip("no Chromium here; install one with: sudo apt-get install chromium")
    return path


@pytest.fixture(scope="session")
def browser(chromium):
    """Chromium under Playwright."""
    from editor import launch

    with launch(chromium) as browser:
        yield browser


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skipped test is a failed one."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("FREESCALE_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
