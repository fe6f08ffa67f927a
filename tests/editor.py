"""The shared workflows, and ComfyUI's editor when it shows them."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
from PIL import Image

from tools.folders import ROOT
from tools.server import Server

NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
READY = "window.app?.extensionManager?.workflow?.activeWorkflow"  # set last: the graph that the client starts with is loaded
LAPTOP = 1366, 768  # px of a small window
READABLE = 0.6  # the classic canvas draws no text at a smaller zoom; newer clients draw it down to 8/14
LOADERS = "CheckpointLoaderSimple", "UNETLoader", "ImageOnlyCheckpointLoader", "FreeScaleVideoCrafterLoader"  # of a MODEL
OF_FILMS = "EmptyHunyuanLatentVideo", "SVD_img2vid_Conditioning"  # nodes that make a film's empty latent, of width × height
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
QUIET = {  # first-start dialogs and overlays, none of which is about a workflow's nodes
    "Comfy.TutorialCompleted": True,
    "Comfy.Graph.CanvasMenu": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.RightSidePanel.IsOpen": False,  # a help page opens it, for good
}
CLIENT = Path(os.environ.get("FREESCALE_CLIENT") or Path(find_spec("comfyui_frontend_package").origin).parent / "static")
NODES_2 = "Comfy.VueNodes.Enabled"  # the setting that chooses the renderer; older clients have neither
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")  # the types of inputs that are widgets
SEED_CONTROLS = ("fixed", "increment", "increment-wrap", "decrement", "randomize")


def client_knows(word: str) -> bool:
    """Whether the web client's scripts have the word."""
    return any(word.encode() in script.read_bytes() for script in CLIENT.glob("assets/*.js"))


RENDERERS = ["classic canvas", *["Nodes 2.0"] * client_knows(NODES_2)]

UNKNOWN_NODES = """() => app.graph._nodes.filter(
    n => n.has_errors || !LiteGraph.registered_node_types[n.type]).map(n => n.type)"""
COMPLAINTS = """() => [...document.querySelectorAll('[role=dialog], .p-dialog, [role=status], [role=alert]')].map(
    c => c.innerText).filter(t => t)"""
SAVE = "() => JSON.parse(JSON.stringify(app.graph.serialize()))"  # as into a file, where nothing is undefined


def furnish(workdir: Path) -> None:
    """What the workflows name, or the client would complain: models, without weights, and a picture."""
    (workdir / "input").mkdir(parents=True, exist_ok=True)
    for model in (model for name in NAMES for node in saved(name)["nodes"] for model in models(node)):
        path = workdir / "models" / model["directory"] / model["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    Image.new("RGB", (256, 64)).save(workdir / "input" / "example.png")  # wide: older clients let a node grow with its picture


@contextmanager
def launch(chromium: str) -> Iterator:
    """Chromium under Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


def open_client(server: Server, browser, renderer: str, width: int = 2900, height: int = 1300, **options):
    """The web client's page, idle; `nodes_2` says which renderer it uses, `faults` collects its errors."""
    nodes_2 = renderer == "Nodes 2.0"
    for name, value in {**QUIET, NODES_2: nodes_2}.items():
        server.post(f"/settings/{name}", value)
    page = browser.new_page(viewport={"width": width, "height": height}, **options)
    page.faults, page.nodes_2 = [], nodes_2
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(server.url)
    page.wait_for_function(READY, timeout=60_000)
    assert page.evaluate("name => app.extensionManager.setting.get(name)", NODES_2) is nodes_2
    return page


def saved(name: str) -> dict:
    """A file of workflows/, as the editor saved it."""
    return json.loads((ROOT / "workflows" / f"{name}.json").read_text("utf-8"))


def models(node: dict) -> list[dict]:
    """The files that a saved node names, and where the client offers to download them from."""
    return node.get("properties", {}).get("models", [])


def pixels(path: Path) -> Image.Image:
    """A saved picture, or the first frame of a film."""
    if path.suffix != ".mp4":
        return Image.open(path)
    with av.open(path) as film:
        return next(film.decode(video=0)).to_image()


def use_demo_model(prompt: dict, transformer: bool = True) -> None:
    """Put the embedded model where a model, its VAE and its prompts are: they are gigabytes away. Films become one frame."""
    kinds = {key: node["class_type"] for key, node in prompt.items()}
    model = next((key for key, kind in kinds.items() if kind in LOADERS), None)
    if model is None:
        return
    for node in prompt.values():
        if node["class_type"] in OF_FILMS:
            size = {name: node["inputs"][name] for name in ("width", "height")}
            node.update(class_type="EmptyLatentImage", inputs={**size, "batch_size": 1})
    replaced = ("Loader", "CLIP", "Conditioning", "Guidance", "ModelSamplingSD3")  # whose time is 1000 times that of FLUX
    for key in [key for key, node in prompt.items() if any(word in node["class_type"] for word in replaced)]:
        del prompt[key]
    network = "transformer" if transformer and kinds[model] == "UNETLoader" else "U-Net"
    values = {"hat": "yes", "hue": 0.58, "framing": "portrait", "network": network}
    prompt[model] = {"class_type": "FreeScaleDemoModel", "inputs": values}
    outputs = {"positive": 1, "negative": 2, "vae": 3}
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and (name in outputs or value[0] == model or value[0] not in prompt):
                node["inputs"][name] = [model, outputs.get(name, 0)]
            elif isinstance(value, list) and prompt[value[0]]["class_type"] == "EmptyLatentImage":
                node["inputs"][name] = [value[0], 0]


def default_value(kind: str | list, options: dict) -> Any:
    """What a widget shows in a new node."""
    choices = kind if isinstance(kind, list) else options.get("options") or [None]
    return options.get("default", choices[0] if choices else None)


def alone(kind: str, **more) -> dict:
    """A graph of one node, whose id is 1."""
    node = {"id": 1, "type": kind, "flags": {}, "order": 0, "mode": 0, "properties": {}, **more}
    return {"version": 0.4, "last_node_id": 1, "last_link_id": 0, "nodes": [node], "links": []}


def values(graph: dict) -> dict:
    """Of a graph that the editor saved: each node's widget values."""
    return {node["id"]: node.get("widgets_values") or [] for node in graph["nodes"]}


def show(client, graph: dict) -> None:
    """Open a graph in the editor, zoomed, and wait for that: newer clients set the view late, over any set meanwhile."""
    x, y = graph["nodes"][0]["pos"]
    view = {"scale": 0.7654, "offset": [300 - x, 200 - y]}  # nobody else's zoom; a node in view, or the client chooses
    client.evaluate("graph => app.loadGraphData(graph)", {**graph, "extra": {**graph.get("extra", {}), "ds": view}})
    opened = "([count, scale]) => app.graph._nodes.length === count && app.canvas.ds.scale === scale"
    client.wait_for_function(opened, arg=[len(graph["nodes"]), view["scale"]])


def fits_templates(client) -> bool:
    """Whether the client fits a template into its window, as newer ones do, rather than restore the view that is saved with it."""
    return client.evaluate("window.__COMFYUI_FRONTEND_VERSION__.split('.').map(Number)") >= [1, 58]  # the oldest of them known


def open_template(client, graph: dict) -> None:
    """Open a graph as the client's gallery does, and wait until it shows in the view that the client chose."""
    passing = [0.1234, *[graph["extra"]["ds"]["scale"]] * fits_templates(client)]
    client.evaluate("scale => { app.canvas.ds.scale = scale }", passing[0])
    client.evaluate("graph => app.loadGraphData(graph, true, true, null, { openSource: 'template' })", graph)
    client.wait_for_function("passing => !passing.includes(app.canvas.ds.scale)", arg=passing)


def set_values(client, **wanted) -> None:
    """Set widgets by name, as typing does."""
    client.evaluate(
        """wanted => {
            for (const node of app.graph._nodes) for (const widget of node.widgets ?? [])
                if (widget.name in wanted) { widget.value = wanted[widget.name]; widget.callback?.(widget.value) }
        }""",
        wanted,
    )


def double_click(client, x: float, y: float) -> None:
    """A double click as a hand does it: 100 ms apart by the events' own clock, however busy the machine is.

    Playwright sends both clicks at once. The client asks for more than 0 and less than 300 ms, so it misses some of them.
    """
    session, now = client.context.new_cdp_session(client), time.time()
    mouse = (("Moved", 0), ("Pressed", 1), ("Released", 1), ("Pressed", 2), ("Released", 2))
    for step, (kind, count) in enumerate(mouse):
        event = {"type": f"mouse{kind}", "x": x, "y": y, "button": "left" if count else "none", "clickCount": count}
        session.send("Input.dispatchMouseEvent", {**event, "timestamp": now + 0.05 * step})
    session.detach()


def open_help(client, kind: str) -> None:
    """The help page of the node of a kind, by the button above it."""
    client.evaluate("kind => app.canvas.selectNode(app.graph._nodes.find(n => n.type === kind))", kind)
    client.locator("[data-testid=info-button], .selection-toolbox .pi-question-circle").first.click()


def run(client) -> None:
    """Press Run and wait for its good end, not that of a run before."""
    client.wait_for_function(
        "async () => { const q = await (await app.api.fetchApi('/queue')).json(); return !q.queue_running.length }"
    )
    client.evaluate(
        """() => {
            window.freescaleEnd = null
            for (const end of ['execution_success', 'execution_error'])
                app.api.addEventListener(end, ({ detail }) => { window.freescaleEnd = [end, detail.exception_message] }, { once: true })
        }"""
    )
    client.get_by_test_id("queue-button").click()
    ending = client.wait_for_function("window.freescaleEnd", timeout=120_000).json_value()
    assert ending[0] == "execution_success", ending
