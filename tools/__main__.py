"""Everything a developer needs: demo, test, serve, bench, quality, table1, table3, pictures, matrix, lint, host.

The first command makes an environment in a cache folder outside this repository: a virtual environment and a
real ComfyUI. Later commands re-use it. Variables choose another host than the usual one:
  COMFYUI_VERSION   a ComfyUI from PyPI: 0.3.75 or 0.3.52
  COMFYUI_PATH      a checkout of any ComfyUI
  COMFYUI_FRONTEND  the web client's version, such as 1.58.1, or newest
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tools import demo, lint, serve, testing
from tools.console import Trouble, say
from tools.environment import prepare, use
from tools.folders import ROOT
from tools.processes import call, host_env

FORWARDING = (
    "test",
    "matrix",
    "bench",
    "quality",
    "table1",
    "table3",
    "pictures",
)  # all of their arguments are for somebody else


def measuring(name: str, *first: str) -> Callable:
    """A command that runs the folder tools/NAME in the host's environment, from where the user is: its arguments name files there."""

    def run(_: argparse.Namespace, rest: list[str]) -> int:
        host = prepare()
        return call([host.python, ROOT / "tools" / name, *first, *rest], host_env(host), Path.cwd())

    return run


def show_host(args: argparse.Namespace, _: list[str]) -> int:
    """Print where the environment's Python and ComfyUI are."""
    host = prepare()
    if args.json:
        print(json.dumps({"python": str(host.python), "comfyui": str(host.comfyui)}))
    else:
        print(host.python, host.comfyui, sep="\n")
    return 0


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; what the command passes on is returned apart."""
    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function: Callable, text: str, passes_on: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(function=function, passes_on=passes_on)
        return command

    command = add("demo", demo.run, "run the demo workflow and print the paths of its pictures")
    command.add_argument("--workflow", type=Path, default=demo.WORKFLOW, metavar="FILE", help="another workflow to run")
    command.add_argument("--output", type=Path, metavar="DIR", help="copy the pictures to this folder")
    command = add("serve", serve.run, "start the editor with the pack; other options go to ComfyUI", True)
    command.add_argument("--port", type=int, default=0, help="8188, or any free one, if not given")
    command = add("host", show_host, "print the environment's Python and ComfyUI")
    command.add_argument("--json", action="store_true", help="as one line of JSON")
    add("lint", lint.run, "check the code without running it: ruff, types, and what the registry asks of a pack")
    add("test", testing.run, "run the tests; everything after it goes to pytest", True)
    add("matrix", testing.matrix, "run every combination of tests/matrix and write docs/compatibility.md", True)
    add("bench", measuring("bench"), "measure speed and memory; everything after it goes to tools/bench", True)
    add("quality", measuring("quality"), "draw and measure pictures by every method; the rest goes to tools/quality", True)
    add("pictures", measuring("pictures"), "make the pictures of the README, the help pages and the templates", True)
    add(
        "table1",
        measuring("tables", "table1"),
        "reproduce the paper's Table 1 on a checkpoint; the rest goes to tools/tables",
        True,
    )
    add(
        "table3",
        measuring("tables", "table3"),
        "the same for clips, with Table 4's ablations; the rest goes to tools/tables",
        True,
    )

    if argv[:1] and argv[0] in FORWARDING:  # options too, as they are: argparse does not look at them
        return parser.parse_args(argv[:1]), argv[1:]
    args, rest = parser.parse_known_args(argv)
    if rest and not args.passes_on:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    return args, rest


def main(argv: list[str]) -> int:
    """Run one command; its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that servers are stopped
    args, rest = parse(argv)
    try:
        use(Path(sys.prefix))
        return args.function(args, rest)
    except Trouble as trouble:
        say(str(trouble))
        return 1
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
