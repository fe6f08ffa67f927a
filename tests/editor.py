"""The shared workflows, and ComfyUI's editor when it shows them."""

import json

import dev

NAMES = sorted(path.stem for path in (dev.ROOT / "workflows").glob("*.json"))
READY = "window.app && window.app.graph && window.app.extensionManager"


def saved(name: str) -> dict:
    """A file of workflows/, as the editor saved it."""
    return json.loads((dev.ROOT / "workflows" / f"{name}.json").read_text("utf-8"))


def show(client, graph: dict) -> None:
    """Open a graph in the editor."""
    client.evaluate("graph => app.loadGraphData(graph)", graph)
    client.wait_for_function("count => app.graph._nodes.length === count", arg=len(graph["nodes"]))
