"""ComfyUI's real web client in a headless Chromium, once with the classic canvas and, if it has it, once with Nodes 2.0."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from editor import READY
from PIL import Image

import dev

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
QUIET = {  # first-start dialogs and overlays, none of which is about a workflow's nodes
    "Comfy.TutorialCompleted": True,
    "Comfy.Graph.CanvasMenu": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Minimap.Visible": False,
}
CLIENT = Path(os.environ.get("FREESCALE_CLIENT") or Path(find_spec("comfyui_frontend_package").origin).parent / "static")
NODES_2 = "Comfy.VueNodes.Enabled"  # the setting that chooses the renderer; older clients have neither
RENDERERS = ["classic canvas"]
if any(NODES_2.encode() in script.read_bytes() for script in CLIENT.glob("assets/*.js")):
    RENDERERS.append("Nodes 2.0")


@pytest.fixture(scope="session")
def chromium():
    """The browser's path."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else ["chromium", "chromium-browser", "google-chrome"]
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium here; install one with: sudo apt-get install chromium")
    return path


@pytest.fixture(scope="session")
def server(chromium, host, tmp_path_factory):
    """A real ComfyUI with the pack."""
    workdir = tmp_path_factory.mktemp("comfyui")
    for folder in ("models/checkpoints", "input"):
        (workdir / folder).mkdir(parents=True)
    # What the workflows name, or the client would complain; wide, because older clients let a node grow with its picture.
    (workdir / "models" / "checkpoints" / "sd_xl_base_1.0.safetensors").touch()
    Image.new("RGB", (256, 64)).save(workdir / "input" / "example.png")
    with dev.Server(host, workdir) as server:
        yield server


@pytest.fixture(scope="session")
def browser(chromium):
    """Chromium under Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=RENDERERS)
def client(request, server, browser):
    """The web client, open and idle; `client.nodes_2` says which renderer it uses."""
    nodes_2 = request.param == "Nodes 2.0"
    for name, value in {**QUIET, NODES_2: nodes_2}.items():
        server.post(f"/settings/{name}", value)
    page = browser.new_page(viewport={"width": 2900, "height": 1300})
    page.faults, page.nodes_2 = [], nodes_2
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(server.url)
    page.wait_for_function(READY, timeout=60_000)
    assert page.evaluate("name => app.extensionManager.setting.get(name)", NODES_2) is nodes_2
    yield page
    page.close()


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """Where screenshots go."""
    folder = Path(os.environ.get("FREESCALE_ARTIFACTS") or tmp_path_factory.mktemp("artifacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
