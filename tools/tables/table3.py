"""The command: draws what is missing, measures it, prints Tables 3 and 4 with the published figures under ours."""

from argparse import Namespace
from pathlib import Path

import comfy.model_management
import drawing
import torch
import videos
from clip_metrics import Clips, load_networks
from videos import DILATED_UP, METHODS, REFERENCE, RGB, drawn, load

COLUMNS = {"fvd": ("FVD", 1), "dynamic": ("dynamic", 3), "aesthetic": ("aesthetic", 3), "minutes": ("minutes", 2)}
PAPERS_MODEL = (320, 512)  # VideoCrafter2's native size; the paper doubles it
PUBLISHED = {  # over 512 prompts, minutes on an A800
    name: dict(zip(COLUMNS, figures))
    for name, figures in {
        "direct": (611.1, 0.191, 0.580, 4.08), "ScaleCrafter": (723.8, 0.104, 0.584, 4.10),
        "DemoFusion": (537.6, 0.342, 0.614, 9.30), "FreeScale": (484.7, 0.383, 0.621, 3.79),
        DILATED_UP: (523.3, 0.363, 0.611, 3.79), RGB: (422.2, 0.381, 0.604, 3.80),
    }.items()
}  # fmt: skip
NETWORKS = {
    "i3d": "I3D's weights for FVD: i3d_pretrained_400.pt",
    "raft": "RAFT's weights for the dynamic degree, as torchvision has them: raft_large_C_T_V1",
    "clip": "a folder with CLIP ViT-L/14 as the transformers library keeps it",
    "aesthetic": "LAION's head for it: sa_0_4_vit_l_14_linear.pth",
}


def parse(argv: list[str]) -> Namespace:
    about = "The paper's Tables 3 and 4 on VideoCrafter2; see docs/tables.md."
    parser = drawing.command_line("table3", about, "videos", METHODS)
    parser.add_argument("--times", type=int, default=2, choices=(2, 3, 4), help="the native sides; 2 if not given, as the paper")
    for name, text in NETWORKS.items():
        parser.add_argument(f"--{name}", required=True, type=Path, metavar="PATH", help=text)
    return drawing.checked(parser, "videos", argv)


@torch.inference_mode()
def main(argv: list[str]) -> dict:
    """Run the command; what is wrong with its files is told before anything is drawn."""
    args = parse(argv)
    prompts = drawing.prompts_of(args, "videos")
    networks = load_networks(**{name: getattr(args, name) for name in NETWORKS})
    checkpoint = load(args.checkpoint)
    native = checkpoint.native
    size = "x".join(str(side * args.times) for side in native[::-1])
    names = tuple(name for name in METHODS if name in args.methods)
    folder = args.folder or Path(f"table3-{size}")
    settings = drawing.settings_of(checkpoint, args.steps, size, videos.__file__)
    drawing.claim(folder, settings, prompts)
    drawing.draw(checkpoint, drawn, prompts, names, args.steps, args.times, folder)
    comfy.model_management.unload_all_models()  # the networks need the room

    rows: dict[str, dict] = {}
    reference = None
    for name in (REFERENCE, *names):
        paths = [drawing.path_of(folder, name, index, checkpoint.frames) for index in range(args.videos)]
        seen = Clips(networks, paths, f"measuring {name}")
        reference = reference or seen
        distance = {} if seen is reference else {"fvd": seen.distance(reference)}
        minutes = drawing.minutes_of(folder, name, args.videos)
        rows[name] = {**distance, "dynamic": seen.dynamic, "aesthetic": seen.aesthetic, "minutes": minutes}
    published = PUBLISHED if native == PAPERS_MODEL and args.times == 2 else {}
    clips = f"{args.videos} clips of {checkpoint.frames} frames"
    title = f"{size} px from {native[1]}x{native[0]} px, {clips}, {args.steps} steps, {settings['device']}"
    result = {"settings": settings, "videos": args.videos, "native": native, "methods": rows, "published": published}
    return drawing.report(title, COLUMNS, result, args.json)
