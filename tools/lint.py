"""dev.py lint: what can be said of the code without running it."""

import argparse
import sys

from tools.console import say
from tools.environment import prepare
from tools.processes import call, child_env

QUIET = {"DO_NOT_TRACK": "1", "COMFY_NO_UPDATE_CHECK": "1"}  # how comfy-cli is told to talk to nobody


def run(_: argparse.Namespace, __: list[str]) -> int:
    """Run every check; what the registry checks before a release is one of them."""
    host = prepare()
    env = child_env(PYTHONPATH=str(host.comfyui), **QUIET)
    checks = (
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("basedpyright", "--pythonpath", host.python),  # with PYTHONPATH it finds what the pack imports of ComfyUI
        ("comfy_cli", "--skip-prompt", "node", "validate"),
    )
    failed = [check[0] for check in checks if call([sys.executable, "-m", *check], env)]
    say(f"Complaints by {', '.join(failed)}; see above." if failed else "No complaints.")
    return int(bool(failed))
