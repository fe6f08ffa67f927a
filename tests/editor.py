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


def set_values(client, **wanted) -> None:
    """Set widgets by name, as typing does."""
    client.evaluate(
        """wanted => {
            for (const node of app.graph._nodes) for (const widget of node.widgets ?? [])
                if (widget.name in wanted) { widget.value = wanted[widget.name]; widget.callback?.(widget.value) }
        }""",
        wanted,
    )


def run(client) -> None:
    """Press Run and wait for its good end."""
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
