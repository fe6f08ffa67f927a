"""The command: draws what is missing, measures it, prints Table 1 with the published figures under ours."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import comfy.model_management
import drawing
import torch
from measure import aligned
from metrics import Pictures, load_network
from paper import METHODS, REFERENCE

from tools.console import Trouble

COLUMNS = {
    "fid": ("FID", 1),
    "kid": ("KID", 4),
    "fid_c": ("FID_c", 1),
    "kid_c": ("KID_c", 4),
    "is": ("IS", 2),
    "minutes": ("minutes", 2),
}
PUBLISHED = {  # SDXL's size → method → (FID, FID_c, minutes on an A800), over 1,024 prompts
    2048: {
        "direct": (64.3, 31.0, 0.65), "ScaleCrafter": (67.5, 60.2, 0.65), "DemoFusion": (65.9, 63.0, 1.44),
        "FouriScale": (69.0, 69.7, 1.22), "FreeScale": (44.7, 36.3, 0.85),
    },
    4096: {
        "direct": (134.1, 42.4, 5.46), "ScaleCrafter": (100.4, 116.2, 9.26), "DemoFusion": (72.4, 95.0, 11.38),
        "FouriScale": (93.1, 128.9, 8.45), "FreeScale": (49.8, 71.4, 6.24),
    },
}  # fmt: skip


def parse(argv: list[str]) -> Namespace:
    parser = ArgumentParser(
        prog="dev.py table1", description="The paper's Table 1 on a checkpoint of yours; see docs/table1.md.", allow_abbrev=False
    )
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help=".safetensors, or the word demo: the embedded model")
    parser.add_argument("--prompts", required=True, type=Path, metavar="FILE", help="one a line, UTF-8")
    parser.add_argument("--images", required=True, type=int, metavar="N", help="so many prompts of the file, a picture each")
    parser.add_argument("--size", type=int, help="px a side, a multiple of the model's native size; twice that if not given")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="NAME", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--steps", type=int, default=50, help="of the full schedule")
    parser.add_argument("--folder", type=Path, help="of the pictures; table1-SIZE if not given")
    parser.add_argument(
        "--inception", type=Path, metavar="FILE", help="weights of torch-fidelity's network, instead of its download"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    args = parser.parse_args(argv)
    if args.images < 2:
        parser.error("--images must be 2 or more: the metrics compare distributions")
    if args.steps < 1:
        parser.error("--steps must be 1 or more")
    return args


@torch.inference_mode()
def main(argv: list[str]) -> dict:
    """Run the command; what is wrong with its files is told before anything is drawn."""
    args = parse(argv)
    demo = args.checkpoint == drawing.DEMO
    prompts = drawing.read_prompts(args.prompts, args.images, demo)
    if not demo and not Path(args.checkpoint).is_file():
        raise Trouble(f"--checkpoint {args.checkpoint}: there is no such file.")
    network = load_network(args.inception)
    checkpoint = drawing.load(args.checkpoint)
    native, size = checkpoint.native, args.size or 2 * checkpoint.native
    if size % native or size < 2 * native:
        raise Trouble(f"--size {size} is no multiple of the model's native {native} px, at least twice it.")
    names = tuple(name for name in METHODS if name in args.methods)
    folder = args.folder or Path(f"table1-{size}")
    settings = drawing.settings_of(checkpoint, args.steps, size)
    drawing.claim(folder, settings, prompts)
    drawing.draw(checkpoint, prompts, names, args.steps, size, folder)
    comfy.model_management.unload_all_models()  # the network needs the room

    def seen(name, side):
        paths = [drawing.picture_file(folder, name, index) for index in range(args.images)]
        return Pictures(network, paths, side, f"measuring {name}, {side} px")

    reference, rows = seen(REFERENCE, native), {}
    for name in names:
        pictures, crops = seen(name, size), seen(name, native)
        rows[name] = {
            **pictures.distances(reference),
            **{f"{key}_c": value for key, value in crops.distances(reference).items()},
            **pictures.inception_score(),
            "minutes": drawing.minutes_of(folder, name, args.images),
        }
    published = PUBLISHED.get(size, {}) if native == 1024 else {}
    print(f"{size} px from {native} px, {args.images} pictures, {args.steps} steps, {settings['device']}\n")
    print(text(rows, published))
    result = {"settings": settings, "images": args.images, "native": native, "methods": rows, "published": published}
    if args.json:
        args.json.write_text(json.dumps(result, indent=1), "utf-8")
    return result


def text(rows: dict[str, dict], published: dict[str, tuple]) -> str:
    """The table: a row of ours for each method, the paper's under it."""
    lines = [["", *(title for title, _ in COLUMNS.values())]]
    for name, row in rows.items():
        lines.append([name, *(f"{row[key]:.{digits}f}" for key, (_, digits) in COLUMNS.items())])
        if name in published:
            paper = dict(zip(("fid", "fid_c", "minutes"), published[name]))
            lines.append(
                ["  paper", *(f"{paper[key]:.{digits}f}" if key in paper else "" for key, (_, digits) in COLUMNS.items())]
            )
    return aligned(lines)
