"""dev.py serve: the editor with this checkout in it."""

import argparse
import hashlib

from tools.console import Trouble, say
from tools.environment import locked, prepare
from tools.folders import ROOT, cache_folder
from tools.server import free_port, start


def run(args: argparse.Namespace, options: list[str]) -> int:
    """Start the editor with the pack; further arguments go to ComfyUI."""
    host = prepare()
    workdir = cache_folder() / "serve" / hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]  # kept: people save here
    with locked(workdir.with_suffix(".lock"), "This checkout is already being served; waiting for that to stop."):
        with start(host, workdir, port=args.port or free_port(8188), options=tuple(options)) as server:
            say(f"The log is {server.log}. Ctrl-C stops the server.")
            print(server.url, flush=True)
            server.process.wait()
            raise Trouble(f"{server.log_tail()}\n\nComfyUI stopped by itself; the end of its log is above.")
