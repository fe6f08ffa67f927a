"""Whole pictures of the demo model at 4×, from noise to pixels: the cascade by its presets, and what people use without it."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import families
import numpy as np
import torch
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from freescale.nodes.demo_model import FreeScaleDemoModel
from freescale.nodes.host.cascade import Stage, run_stage
from freescale.nodes.scale_fusion_attention_patch import PRESETS
from measure import aligned, bars, measure, table
from PIL import Image

import nodes as host_nodes

NATIVE, SIDES = 256, (512, 1024)  # px
CFG, DENOISE, DETAIL = 4.0, 0.7, 2.0
DEEP_SHRINK = dict(
    block_number=3, downscale_factor=4.0, start_percent=0.0, end_percent=0.35, downscale_after_skip=True,
    downscale_method="bicubic", upscale_method="bicubic",
)  # fmt: skip
HYPERTILE = dict(tile_size=NATIVE, swap_size=2, max_depth=0, scale_depth=False)
RIVALS = {"/ direct": lambda name: "direct", "/ Exact": lambda name: "FreeScale, Exact"}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=10, help="of the full schedule; pictures are worth looking at from 25 on")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--pictures", type=Path, help="save them into this folder")
    parser.add_argument("--repeats", type=int, default=2)


def ways(steps: int, seed: int) -> dict[str, Callable[[], torch.Tensor]]:
    """Name → function that draws the picture [1, H, W, 3]."""
    model, positive, negative, vae = FreeScaleDemoModel.execute("no", 0.1, "portrait").args

    def ksampler(model, latent, denoise=1.0):
        settings = (seed, steps, CFG, "euler", "ddim_uniform", positive, negative, latent, denoise)
        return families.host_node(host_nodes.KSampler, model, *settings)[0]

    def empty(side):
        return families.host_node(host_nodes.EmptyLatentImage, side, side, 1)[0]

    def direct(model):
        return vae.decode(ksampler(model, empty(SIDES[-1]))["samples"])

    def cascade(model):
        latent = ksampler(model, empty(NATIVE))
        for side in SIDES:
            stage = Stage(side, side, seed, steps, CFG, "euler", "ddim_uniform", DENOISE, DETAIL, "pixels", "auto")
            picture, latent = run_stage("bench", model, positive, negative, vae, stage, latent, None)
        return picture

    def hires_fix():
        latent = ksampler(model, empty(NATIVE))
        [enlarged] = families.host_node(host_nodes.LatentUpscale, latent, "bicubic", SIDES[-1], SIDES[-1], "disabled")
        return vae.decode(ksampler(model, enlarged, 0.55)["samples"])

    dilated = families.with_dilation(model)
    [shrunk] = families.host_node(PatchModelAddDownscale, model, **DEEP_SHRINK)
    [tiled] = families.host_node(HyperTile, model, **HYPERTILE)
    presets = {f"FreeScale, {name}": families.with_scale_fusion(dilated, preset=name) for name in PRESETS}
    models = {**presets, "FreeScale without Scale Fusion": dilated}
    return {
        **{name: lambda patched=patched: cascade(patched) for name, patched in models.items()},
        "direct": lambda: direct(model),
        "direct, Deep Shrink": lambda: direct(shrunk),
        "direct, HyperTile": lambda: direct(tiled),
        "hires-fix": hires_fix,
    }


def run(args: Namespace) -> dict:
    """Seconds and peak of each way, and how far each preset's picture is from the exact one."""
    print(
        f"\nDemo model, {NATIVE} px native, {SIDES[-1]} px, {args.steps} steps, seed {args.seed}, median of {args.repeats}",
        flush=True,
    )
    functions, drawn = ways(args.steps, args.seed), {}

    def keeping(name):
        def draw():
            drawn[name] = functions[name]()

        return draw

    results = measure({name: keeping(name) for name in functions}, args.repeats, args.device)
    levels = {name: (255 * picture[0].cpu().clamp(0, 1)).round().byte().numpy() for name, picture in drawn.items()}
    exact = levels["FreeScale, Exact"].astype(float)
    for name in drawn:
        if name.startswith("FreeScale"):
            results[name]["changed_levels"] = float(np.abs(levels[name] - exact).mean())
        if args.pictures:
            args.pictures.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels[name]).save(args.pictures / f"{name}.png")
    print(table(results, RIVALS))
    print("\nHow far the picture is from Exact's, in 8-bit levels per value")
    print(aligned([[name, f"{r['changed_levels']:.2f}"] for name, r in results.items() if "changed_levels" in r]))
    return results


draw = bars
