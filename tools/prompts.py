"""A prompt from the request to its pictures."""

import json
import time
import urllib.error
import uuid
from collections.abc import Callable
from pathlib import Path

from tools.console import Trouble
from tools.server import Server

ENDINGS = ("execution_success", "execution_error", "execution_interrupted")


def run_prompt(
    server: Server, prompt: dict, workflow: dict | None = None, report: Callable[[str], None] = lambda text: None
) -> dict:
    """Run a prompt to its end and return its outputs by node id; `report` hears where it is."""
    client, seen = uuid.uuid4().hex, []
    with server.listen(client) as messages:
        extra = {"extra_pnginfo": {"workflow": workflow}} if workflow else {}
        request = {"prompt": prompt, "client_id": client, "extra_data": extra}
        try:
            run = server.post("/prompt", request)["prompt_id"]
        except urllib.error.HTTPError as error:
            raise Trouble(refusal(json.loads(error.read()), prompt)) from None
        for kind, data in messages:
            if not isinstance(data, dict) or data.get("prompt_id") != run:
                continue
            if kind in ENDINGS:
                break
            if kind in ("executing", "progress") and data.get("node"):
                outer = str(data.get("display_node") or data["node"]).split(".")[0]
                seen += [outer] if outer not in seen else []
                report(f"[{len(seen)}/{len(prompt)}] " + where(prompt, outer, data))
    return outcome(server, run, prompt)


def where(prompt: dict, outer: str, data: dict) -> str:
    """Name the running node, the part of it that works (a node may expand into several), and its step."""
    part = str(data["node"]).split(".")[-1].replace("_", " ")
    words = [prompt.get(outer, {}).get("_meta", {}).get("title") or outer]
    words += [part] if "." in str(data["node"]) and not part.isdigit() else []
    words += [f"step {data['value']:g} of {data['max']:g}"] if "max" in data else []
    return ", ".join(words)


def refusal(answer: dict, prompt: dict) -> str:
    """Why the server does not even start a prompt."""
    lines = [f"ComfyUI refused the workflow: {answer['error'].get('message')} {answer['error'].get('details', '')}"]
    for node, problem in (answer.get("node_errors") or {}).items():
        title = prompt[node].get("_meta", {}).get("title") or problem["class_type"]
        lines += [f"  {title}: {error['message']} ({error['details']})" for error in problem["errors"]]
    return "\n".join(lines)


def outcome(server: Server, run: str, prompt: dict) -> dict:
    """The outputs of a finished prompt's own nodes, not of those that they expand into, or what went wrong in it."""
    while not (history := server.get(f"/history/{run}")):
        if server.process.poll() is not None:
            raise Trouble(f"{server.log_tail()}\n\nComfyUI stopped in the middle of the run; its log is above.")
        time.sleep(0.1)
    entry = history[run]
    for kind, data in entry["status"]["messages"]:
        if kind == "execution_interrupted":
            raise Trouble("The run was interrupted.")
        if kind == "execution_error":
            node = prompt.get(str(data["node_id"]).split(".")[0], {})
            title = node.get("_meta", {}).get("title") or data["node_type"]
            raise Trouble(f"{''.join(data['traceback'])}\n{title} failed: {data['exception_message'].strip()}")
    return {node: output for node, output in entry["outputs"].items() if node in prompt}


def upstream(prompt: dict, node: str) -> set[str]:
    """All nodes that a node depends on, each of which is looked at once."""
    found, waiting = set(), [node]
    while waiting:
        direct = {value[0] for value in prompt[waiting.pop()]["inputs"].values() if isinstance(value, list)}
        waiting += direct - found
        found |= direct
    return found


def saved_images(outputs: dict, prompt: dict, folder: Path) -> list[Path]:
    """The image files of a run in the order of the stages: a later stage depends on more nodes."""
    in_order = sorted((node for node in outputs if node in prompt), key=lambda node: len(upstream(prompt, node)))
    images = [image for node in in_order for image in outputs[node].get("images", []) if image["type"] == "output"]
    return [folder / image["subfolder"] / image["filename"] for image in images]
