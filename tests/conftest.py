"""Runs the tests inside of a real ComfyUI, with the pack as the package `freescale`."""

import os
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tools"))
import inside  # noqa: E402

# isort: split
from tools.processes import find_chromium  # noqa: E402

for _path in (
    "tools/bench/layer",
    "tools/bench/unet",
    "tools/bench/growth",
    "tools/bench/transformer",
    "tools/bench/pipeline",
    "tests/server/neighbour",
    "tools/quality/features",
    "tools/quality/figures",
    "tools/quality/report",
    "tests/install/beginner",
    "tests/host/dits",
    "tests/host/dynamic_vram",
    "tests/host/host_models",
    "tests/host/patching",
    "tests/host/quantised",
    "tests/host/video/clips",
    "tests/host/rivals/rival_models",
    "tests/host/stage/staging",
    "tests/web/painter/painter",
    "tests/web/web_client",
):
    inside.load(Path(_path).name, ROOT / f"{_path}.py")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors only wait for a second thread, and other threads are other bits: so it is one, whatever is collected."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def host():
    """See `inside.this_host`."""
    return inside.this_host()


@pytest.fixture(scope="session")
def chromium():
    """The path of the browser that shows the editor."""
    path = find_chromium()
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
