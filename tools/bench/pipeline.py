"""Whole pictures of a model of SDXL's width with random weights, VAE included: where the seconds of a 4K picture go."""

import statistics
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial

import comfy.sd
import families
import methods
import torch
import unet
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from families import random
from freescale.freescale_core.geometry import enlargement
from measure import aligned, bars, median, seconds
from methods import Work
from unet import TEXT_TOKENS

SDXL, STAGES = 1024, (2, 4)  # px; times the native side
PARTS = ("network", "encode", "decode")
SIZES = 6 * 256  # of SDXL's pooled input are sizes
DISTILLED = 8  # steps and fewer need no guidance
WAYS = (
    "FreeScale",
    "FreeScale, Balanced",
    "FreeScale, Fast",
    "FreeScale, Draft",
    "without Scale Fusion",
    "direct",
    "tiled re-drawing",
)
AUTHORS = "authors, hw"
VAE = dict(
    ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2, in_channels=3, out_ch=3, z_channels=4, resolution=256, attn_resolutions=[],
    double_z=True, dropout=0.0,
)  # fmt: skip


def add_arguments(parser: ArgumentParser) -> None:
    gpu = torch.cuda.is_available()
    parser.add_argument("--native", type=int, default=SDXL if gpu else 128, help="px; pictures are drawn at four times that")
    parser.add_argument("--depth", type=float, default=1 if gpu else 0.1, help="part of SDXL's transformer blocks")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[8, 50], help="up to 8 without guidance, as distilled models have it"
    )
    parser.add_argument("--ways", nargs="+", choices=(*WAYS, AUTHORS), default=[*WAYS, AUTHORS])
    parser.add_argument("--repeats", type=int, default=1)


def by_authors(work: Work) -> torch.Tensor:
    """The cascade with the authors' layer in place of ours."""
    latent, picture = work.base(), None
    for times in STAGES:
        size = enlargement(*work.size(times), work.native[0])
        picture, latent = work.stage(unet.authors(families.with_dilation(work.model), size, "hw"), times, latent, picture)
    return picture


class Clock:
    """Seconds and calls of each part of a picture. On a GPU it waits at the end of each."""

    def __init__(self, device: torch.device):
        self.device = device
        self.clear()

    def clear(self) -> None:
        """From now on."""
        self.parts, self.calls = dict.fromkeys(PARTS, 0.0), Counter[str]()

    def timed(self, part: str, function: Callable) -> Callable:
        """The function, whose time counts as that part's."""

        def run(*args, **kwargs):
            out: list = []
            self.calls[part] += 1
            self.parts[part] += seconds(lambda: out.append(function(*args, **kwargs)), self.device)
            return out[0]

        return run

    def watched(self, model: ModelPatcher, vae: comfy.sd.VAE) -> tuple[ModelPatcher, comfy.sd.VAE]:
        """A MODEL and a VAE whose calls count; what patches the MODEL later lies inside."""
        model, vae = model.clone(), copy(vae)
        model.add_wrapper_with_key(
            WrappersMP.APPLY_MODEL, "a bench", lambda executor, *args, **kwargs: self.timed("network", executor)(*args, **kwargs)
        )
        for name in ("encode", "encode_tiled", "decode", "decode_tiled"):
            setattr(vae, name, self.timed(name[:6], getattr(vae, name)))
        return model, vae


def run(args: Namespace) -> dict:
    """Whole pictures from noise to pixels: seconds, and how many of them are the network's and the VAE's."""
    model = unet.build(args.depth, args.dtype, args.device, args.native)
    vae = families.vae(VAE, torch.bfloat16 if args.device.type == "cuda" else torch.float32)
    return {steps: draw_all(model, vae, steps, args) for steps in args.steps}


def draw_all(model: ModelPatcher, vae: comfy.sd.VAE, steps: int, args: Namespace) -> dict[str, dict]:
    """One table: every way with so many steps."""
    config, clock = model.model.model_config.unet_config, Clock(args.device)
    pooled = {"pooled_output": random(1, config["adm_in_channels"] - SIZES)}
    prompts = [[[random(1, TEXT_TOKENS, config["context_dim"], seed=seed), pooled]] for seed in (1, 2)]
    cfg, scheduler = (1.0, "sgm_uniform") if steps <= DISTILLED else (7.5, "ddim_uniform")
    native, times = (args.native,) * 2, STAGES[-1]
    model, vae = clock.watched(model, vae)
    work = Work(model, *prompts, vae, native, times, 1, steps, cfg, "euler", scheduler)
    functions = {name: by_authors if name == AUTHORS else methods.OF_U_NETS[name] for name in args.ways}
    results: dict[str, dict] = {name: {"seconds": [], "parts": [], "calls": 0} for name in functions}
    for function in functions.values():
        function(replace(work, steps=2))  # warms up
    for _ in range(args.repeats):
        for name, function in functions.items():
            clock.clear()
            results[name]["seconds"].append(seconds(partial(function, work), args.device))
            results[name]["parts"].append(clock.parts)
            results[name]["calls"] = clock.calls["network"]
    print(
        f"\nA picture of {times * args.native}², {args.depth:.0%} of SDXL's transformer blocks, {args.dtype}, {steps} steps, cfg {cfg:g}, "
        f"median of {args.repeats}"
    )
    rows = [["", "seconds", "/ direct", *PARTS, "rest", "network calls"]]
    for name, result in results.items():
        parts = [statistics.median(each[part] for each in result["parts"]) for part in PARTS]
        ratio = f"{median(result) / median(results['direct']):.2f}" if "direct" in results else ""
        rows.append(
            [
                name,
                f"{median(result):.3g}",
                ratio,
                *(f"{x:.3g}" for x in (*parts, median(result) - sum(parts))),
                str(result["calls"]),
            ]
        )
    print(aligned(rows), flush=True)
    return results


def draw(axis, results: dict) -> None:
    bars(axis, {f"{name}, {steps} steps": result for steps, found in results.items() for name, result in found.items()})
