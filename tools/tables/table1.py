"""The command: draws what is missing, measures it, prints Table 1 with the published figures under ours."""

from argparse import Namespace
from pathlib import Path

import comfy.model_management
import drawing
import stills
import torch
from picture_metrics import Pictures, load_network
from stills import METHODS, REFERENCE, drawn, load

from tools.console import Trouble

COLUMNS = {
    "fid": ("FID", 1),
    "kid": ("KID", 4),
    "fid_c": ("FID_c", 1),
    "kid_c": ("KID_c", 4),
    "is": ("IS", 2),
    "minutes": ("minutes", 2),
}
PUBLISHED = {  # SDXL's size → method → figures over 1,024 prompts, minutes on an A800
    size: {name: dict(zip(("fid", "fid_c", "minutes"), figures)) for name, figures in rows.items()}
    for size, rows in {
        2048: {
            "direct": (64.3, 31.0, 0.65), "ScaleCrafter": (67.5, 60.2, 0.65), "DemoFusion": (65.9, 63.0, 1.44),
            "FouriScale": (69.0, 69.7, 1.22), "FreeScale": (44.7, 36.3, 0.85),
        },
        4096: {
            "direct": (134.1, 42.4, 5.46), "ScaleCrafter": (100.4, 116.2, 9.26), "DemoFusion": (72.4, 95.0, 11.38),
            "FouriScale": (93.1, 128.9, 8.45), "FreeScale": (49.8, 71.4, 6.24),
        },
    }.items()
}  # fmt: skip


def parse(argv: list[str]) -> Namespace:
    parser = drawing.command_line(
        "table1", "The paper's Table 1 on a checkpoint of yours; see docs/tables.md.", "images", METHODS
    )
    parser.add_argument("--size", type=int, help="px a side, a multiple of the model's native size; twice that if not given")
    parser.add_argument(
        "--inception", type=Path, metavar="FILE", help="weights of torch-fidelity's network, instead of its download"
    )
    return drawing.checked(parser, "images", argv)


@torch.inference_mode()
def main(argv: list[str]) -> dict:
    """Run the command; what is wrong with its files is told before anything is drawn."""
    args = parse(argv)
    prompts = drawing.prompts_of(args, "images")
    network = load_network(args.inception)
    checkpoint = load(args.checkpoint)
    native = checkpoint.native[0]
    size = args.size or 2 * native
    if size % native or size < 2 * native:
        raise Trouble(f"--size {size} is no multiple of the model's native {native} px, at least twice it.")
    names = tuple(name for name in METHODS if name in args.methods)
    folder = args.folder or Path(f"table1-{size}")
    settings = drawing.settings_of(checkpoint, args.steps, size, stills.__file__)
    drawing.claim(folder, settings, prompts)
    drawing.draw(checkpoint, drawn, prompts, names, args.steps, size // native, folder)
    comfy.model_management.unload_all_models()  # the network needs the room

    def seen(name, side):
        paths = [drawing.path_of(folder, name, index, 1) for index in range(args.images)]
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
    title = f"{size} px from {native} px, {args.images} pictures, {args.steps} steps, {settings['device']}"
    result = {"settings": settings, "images": args.images, "native": native, "methods": rows, "published": published}
    return drawing.report(title, COLUMNS, result, args.json)
