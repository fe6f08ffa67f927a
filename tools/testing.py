"""dev.py test and dev.py matrix: pytest in the host's environment."""

import argparse
import os

from tools.console import say
from tools.environment import prepare
from tools.folders import ROOT
from tools.processes import call, find_chromium, host_env, physical_cores

MOST_WORKERS = 4  # each has a ComfyUI of its own, and servers and browsers beside it
NO_CHROMIUM = (
    "WARNING: no Chromium here, so the tests of the editor (tests/web) cannot run. To run them too: "
    "sudo apt-get install chromium, or name a Chrome or Chromium program in the variable CHROMIUM."
)
# A person who says one of these chooses the number of workers, or wants to see or touch what workers keep to themselves.
OWN_WORKERS = ("-n", "--numprocesses", "--dist", "-s", "--capture", "--pdb", "--trace")


def run(_: argparse.Namespace, pytest_args: list[str]) -> int:
    """Run the tests; further arguments go to pytest."""
    browser = find_chromium()
    host = prepare()
    say(f"The tests of the editor use {browser}" if browser else NO_CHROMIUM)
    env = {**host_env(host), **threads(), **({"CHROMIUM": browser} if browser else {})}
    if os.environ.get("CI", "").lower() in ("1", "true"):
        env["FREESCALE_NO_SKIP"] = "1"  # tests/conftest.py turns a skipped test into a failed one
    # Above tests/ pytest would take the pack's __init__.py for a test package and import it, without a ComfyUI.
    options = ["--import-mode=importlib", f"--confcutdir={ROOT / 'tests'}", *workers(pytest_args)]
    code = call([host.python, "-m", "pytest", *options, *pytest_args], env)
    if not browser:
        say(NO_CHROMIUM)
    return code


def matrix(args: argparse.Namespace, rest: list[str]) -> int:
    """Run the whole of tests/matrix and write what it found into docs/compatibility.md."""
    os.environ["FREESCALE_MATRIX"] = "part" if rest else "whole"
    return run(args, ["tests/matrix", "-m", "long or not long", "-n", "0", *rest])  # one process, as one writes


def workers(pytest_args: list[str]) -> list[str]:
    """How many processes share the tests: one a core, unless the person says something about it."""
    if any(word.startswith(OWN_WORKERS) for word in pytest_args):
        return []
    # In their order, as a file of one long test would otherwise come last and keep one core alone.
    return ["-n", str(min(physical_cores(), MOST_WORKERS)), "--dist", "loadfile", "--no-loadscope-reorder"]


def threads() -> dict[str, str]:
    """One thread a worker, as the workers have the cores; the person's own number wins."""
    number = os.environ.get("OMP_NUM_THREADS") or "1"
    return {"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": os.environ.get("MKL_NUM_THREADS") or number}
