"""Workflows as the editor saves them, made into what the server's /prompt takes."""

import functools
import json
import subprocess

from tools.console import Trouble
from tools.processes import child_env, tools_python

CONVERT = "import json, sys; from comfy_cli.workflow_to_api import convert_ui_to_api; print(json.dumps(convert_ui_to_api(*json.load(sys.stdin))))"
EDITOR_ONLY = ("Note", "MarkdownNote", "PrimitiveNode", "Reroute")


def to_prompt(graph: dict, object_info: dict) -> dict:
    """Convert a graph, subgraphs and all, as the editor itself does; comfy-cli knows how."""
    subgraphs = {each["id"]: each for each in graph.get("definitions", {}).get("subgraphs", [])}
    kinds = {node["type"] for part in (graph, *subgraphs.values()) for node in part["nodes"]} - {*EDITOR_ONLY, *subgraphs}
    if unknown := sorted(kinds - {*object_info}):
        raise Trouble(f"The workflow uses {', '.join(unknown)}, which this ComfyUI does not have.")
    return json.loads(_converted(json.dumps([graph, {kind: object_info[kind] for kind in kinds}])))


@functools.cache
def _converted(question: str) -> str:
    """The answer of comfy-cli, which is in the tools' environment only, as its packages would change ComfyUI's."""
    command, env = [str(tools_python()), "-c", CONVERT], child_env(DO_NOT_TRACK="1")
    done = subprocess.run(command, input=question, env=env, check=False, text=True, capture_output=True)
    if done.returncode:
        raise Trouble(f"The workflow cannot be converted: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout
