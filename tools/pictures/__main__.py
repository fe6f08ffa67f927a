"""python dev.py pictures: makes the pictures of the README, of the help pages, of docs/ and of the templates.

The embedded demo model draws. What it has drawn is kept, as `dev.py quality` does, and so is what the templates' runs made, so
that a command that was interrupted goes on where it stopped. Templates are shown in both of the editor's renderers.
"""

import argparse
import os
import signal
import sys
from multiprocessing import get_context
from pathlib import Path

import drawn
import templates
from drawing import draw
from editor import furnish
from inside import this_host
from PIL import Image
from tqdm import tqdm

from tools.console import say
from tools.folders import ROOT, cache_folder
from tools.processes import find_chromium
from tools.server import Server

KEPT = cache_folder() / "pictures" / "drawn"
LARGEST = 190_000  # bytes of a file


def keep(picture: Image.Image, path: Path) -> None:
    """Save it as a JPEG, as good as its size allows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in range(92, 50, -4):
        picture.save(path, quality=quality, optimize=True)
        if path.stat().st_size < LARGEST:
            break
    print(path, flush=True)


def draw_sheets(names: list[str]) -> None:
    """Draw what is missing, the largest first, and put it together."""
    pictures = {panel.picture(KEPT) for name in names for panel in drawn.SHEETS[name]}
    missing = sorted((p for p in pictures if not p.path.exists()), key=lambda picture: -picture.side)
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        for _ in tqdm(pool.imap_unordered(draw, missing), "drawing", len(missing), unit="picture"):
            pass
    for name in names:
        keep(drawn.sheet(drawn.SHEETS[name], KEPT), ROOT / name)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py pictures", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="the files whose path contains one of these")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else what this process has started would outlive it
    sheets, files = (
        [name for name in names if any(part in name for part in args.only)]
        for names in (drawn.SHEETS, [*templates.FROM_RUNS, *templates.IN_EDITOR])
    )
    if sheets:
        draw_sheets(sheets)
    if files:
        browser = find_chromium()
        if not browser:
            raise SystemExit("There is no Chromium here. Install one, or name it in the variable CHROMIUM.")
        workdir = cache_folder() / "pictures"
        furnish(workdir)
        say("Starting ComfyUI …")
        with Server(this_host(), workdir) as server:
            for name, picture in templates.make(server, browser, files):
                keep(picture, ROOT / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
