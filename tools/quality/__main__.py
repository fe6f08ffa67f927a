"""python dev.py quality: draws the same seeds by every method with the demo model and counts and measures what came out.

Each picture is kept, so that a run that was interrupted, or one with more seeds, goes on where the last one stopped; the
report is of all pictures that are there. A time is that of one processor core or, where there is a GPU, of a picture that
had it to itself (--jobs 1).
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

if torch.cuda.is_available():
    os.environ["FREESCALE_GPU"] = "1"  # read by the host's options, here and in the processes that draw

# isort: split
import report  # noqa: E402
from drawing import (  # noqa: E402
    CFG,
    ENLARGED,
    NATIVE,
    NATIVE_PICTURE,
    NETWORKS,
    TRUTH,
    TRUTHS,
    TUNED,
    U_NET,
    Picture,
    draw,
    measured,
    true_features,
)
from tqdm import tqdm  # noqa: E402

from tools.folders import ROOT, cache_folder  # noqa: E402

TUNING_SEEDS = 1000  # the first of the seeds that defaults are chosen on; none of them is in a report


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py quality", description=__doc__, allow_abbrev=False)
    parser.add_argument("--network", choices=tuple(NETWORKS), default=U_NET, help="of the demo model")
    parser.add_argument("--seeds", type=int, default=8, metavar="N", help="of each method and size: 0 … N − 1")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2 * NATIVE], metavar="PX", help=f"multiples of {NATIVE}")
    listed = "; ".join(f"{name}: {', '.join(network.methods)}" for name, network in NETWORKS.items())
    parser.add_argument("--methods", nargs="+", metavar="NAME", help=f"all but FreeScale's presets, if not given. {listed}")
    parser.add_argument("--tune", action="store_true", help="instead: FreeScale by other settings, on other seeds")
    parser.add_argument("--folder", type=Path, default=cache_folder() / "quality", help="where the pictures are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write tables and contact sheets into this page, as docs/quality.md"
    )
    parser.add_argument("--jobs", type=int, default=1 if torch.cuda.is_available() else os.cpu_count(), help="pictures at once")
    args = parser.parse_args(argv)
    if args.seeds < 1 or args.seeds > TUNING_SEEDS:
        parser.error(f"--seeds {args.seeds}: write a number from 1 to {TUNING_SEEDS}")
    if wrong := [side for side in args.sizes if side <= NATIVE or side % NATIVE]:
        parser.error(f"--sizes {wrong[0]}: write a multiple of {NATIVE}, the demo model's native size, from {2 * NATIVE} on")
    methods = NETWORKS[args.network].methods
    args.methods = args.methods or [name for name in methods if not name.startswith("FreeScale,")]
    if unknown := [name for name in args.methods if name not in methods]:
        parser.error(f"--methods '{unknown[0]}': for the {args.network} write any of: {', '.join(methods)}")
    return args


def commit() -> str:
    """What the pictures are drawn by."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=7"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def wanted(args: argparse.Namespace) -> list[Picture]:
    """The pictures that are asked for, those of a seed together."""
    names = ("FreeScale", *TUNED) if args.tune else tuple(args.methods)
    first, drawn_by = TUNING_SEEDS if args.tune else 0, commit()
    return [
        Picture(
            args.folder, args.network, drawn_by, method, side, first + n, timed=not torch.cuda.is_available() or args.jobs == 1
        )
        for n in range(args.seeds)
        for side in (NATIVE, *args.sizes)
        for method in ((NATIVE_PICTURE,) if side == NATIVE else names)
    ]


def there(args: argparse.Namespace) -> dict[int, dict[str, list[Picture]]]:
    """Side → method → every picture that has been drawn, in the order of the report."""
    names = ("FreeScale", *TUNED) if args.tune else NETWORKS[args.network].methods
    found: dict[int, dict[str, list[Picture]]] = {}
    for side in args.sizes:
        for method in names:
            folder = args.folder / args.network / str(side) / method
            seeds = sorted(int(path.stem) for path in folder.glob("*.png") if (int(path.stem) >= TUNING_SEEDS) == args.tune)
            if seeds:
                found.setdefault(side, {})[method] = [
                    Picture(args.folder, args.network, "", method, side, seed) for seed in seeds
                ]
        every_seed = {picture.seed: picture for pictures in found.get(side, {}).values() for picture in pictures}
        for method in (TRUTH, ENLARGED):
            found[side][method] = [replace(picture, method=method) for _, picture in sorted(every_seed.items())]
    return found


def main(argv: list[str]) -> int:
    args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the processes that draw would outlive this one
    missing = [picture for picture in wanted(args) if not picture.path.exists()]
    with get_context("spawn").Pool(args.jobs) as pool:  # ends its processes at once, whatever happens: what is drawn is kept
        for _ in tqdm(pool.imap_unordered(draw, missing), "drawing", len(missing), unit="picture"):
            pass
        found = there(args)
        pictures = [picture for methods in found.values() for ps in methods.values() for picture in ps]
        seen = dict(zip(pictures, tqdm(pool.imap(measured, pictures), "measuring", len(pictures), unit="picture")))
        truths = {
            side: list(tqdm(pool.imap(partial(true_features, side), range(TRUTHS)), "reading true drawings", TRUTHS))
            for side in found
        }
    figures = {
        side: {
            name: report.summary([seen[p] for p in ps], [seen[p] for p in methods[TRUTH]], truths[side])
            for name, ps in methods.items()
        }
        for side, methods in found.items()
    }
    steps = NETWORKS[args.network].steps
    for side, rows in figures.items():
        print(f"\n{report.title(args.network, side, NATIVE, steps, CFG)}\n\n{report.table(rows)}")
    if args.json:
        made = {"network": args.network, "native": NATIVE, "steps": steps, "cfg": CFG}
        args.json.write_text(json.dumps({**made, "sizes": figures}, indent=2), "utf-8")
    if args.page:
        shown = {
            side: {name: [p.path for p in ps] for name, ps in methods.items() if name != TRUTH} for side, methods in found.items()
        }
        for paths in shown.values():
            natives = args.folder / args.network / str(NATIVE) / NATIVE_PICTURE
            paths[ENLARGED] = [natives / path.name for path in paths[ENLARGED]]
        report.write_page(args.page, args.network, figures, shown, (NATIVE, steps, CFG))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
