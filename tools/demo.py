"""dev.py demo: a workflow on a real ComfyUI, and the paths of its pictures."""

import argparse
import json
import shutil
import time
from pathlib import Path

from tools.console import Trouble, say, status
from tools.environment import prepare
from tools.folders import ROOT, new_run
from tools.prompts import run_prompt, saved_images
from tools.server import start
from tools.workflows import to_prompt

WORKFLOW = ROOT / "workflows" / "freescale_demo.json"


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Run the workflow and print the path of every picture, in stage order."""
    try:
        graph = json.loads(args.workflow.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Trouble(f"{args.workflow} cannot be read as a workflow: {error}") from None
    started = time.monotonic()
    with start(prepare(), new_run("demo")) as server:
        prompt = to_prompt(graph, server.object_info) if "nodes" in graph else graph
        outputs = run_prompt(server, prompt, graph, status)
    say(f"Done after {time.monotonic() - started:.0f} s. The log is {server.log}")
    images = saved_images(outputs, prompt, server.workdir / "output")
    if not images:
        raise Trouble("The workflow ran, but saved no image.")
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        images = [Path(shutil.copy2(image, args.output.resolve())) for image in images]
    print(*images, sep="\n")
    return 0
