"""Whole pictures of the demo model at 4×, from noise to pixels: the cascade by its presets, and what people use without it."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import methods
import numpy as np
import torch
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from measure import aligned, bars, measure, table
from methods import Work
from PIL import Image

NATIVE, SIDE, CFG = 256, 1024, 4.0  # px, px
EXACT = "FreeScale"
PRESETS = ("FreeScale, Balanced", "FreeScale, Fast", "FreeScale, Draft")
WAYS = (EXACT, *PRESETS, "without Scale Fusion", "direct", "Deep Shrink", "HyperTile", "hires-fix")
RIVALS = {"/ direct": lambda name: "direct", "/ Exact": lambda name: EXACT}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=10, help="of the full schedule; pictures are worth looking at from 25 on")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--pictures", type=Path, help="save them into this folder")
    parser.add_argument("--repeats", type=int, default=2)


def ways(steps: int, seed: int) -> dict[str, Callable[[], torch.Tensor]]:
    """Name → function that draws the picture [1, H, W, 3]."""
    work = Work(*FreeScaleDemoModel.execute("no", 0.1, "portrait").args, (NATIVE, NATIVE), SIDE // NATIVE, seed, steps, CFG)
    return {name: partial(methods.OF_U_NETS[name], work) for name in WAYS}


def run(args: Namespace) -> dict:
    """Seconds and peak of each way, and how far each preset's picture is from the exact one."""
    print(
        f"\nDemo model, {NATIVE} px native, {SIDE} px, {args.steps} steps, seed {args.seed}, median of {args.repeats}",
        flush=True,
    )
    functions, drawn = ways(args.steps, args.seed), {}

    def keeping(name):
        def draw():
            drawn[name] = functions[name]()

        return draw

    results = measure({name: keeping(name) for name in functions}, args.repeats, args.device)
    levels = {name: (255 * picture[0].cpu().clamp(0, 1)).round().byte().numpy() for name, picture in drawn.items()}
    exact = levels[EXACT].astype(float)
    for name in drawn:
        if name in (EXACT, *PRESETS, "without Scale Fusion"):
            results[name]["changed_levels"] = float(np.abs(levels[name] - exact).mean())
        if args.pictures:
            args.pictures.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels[name]).save(args.pictures / f"{name}.png")
    print(table(results, RIVALS))
    print("\nHow far the picture is from Exact's, in 8-bit levels per value")
    print(aligned([[name, f"{r['changed_levels']:.2f}"] for name, r in results.items() if "changed_levels" in r]))
    return results


draw = bars
