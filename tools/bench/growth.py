"""How one call of SDXL's U-Net grows with the picture, counted on the meta device: the same figures on any computer."""

from argparse import ArgumentParser, Namespace

import torch
import unet
from measure import aligned, flop, operators

NAMES = {
    "plain": "without FreeScale",
    "ours, hw (Exact)": "Exact",
    "ours, hw, mixed (Balanced)": "Balanced",
    "ours, hw, strided (Fast)": "Fast",
    "ours, draft (Draft)": "Draft",
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096, 8192, 16384], help="px")
    parser.add_argument("--depth", type=float, default=1, help="part of SDXL's transformer blocks, at least one of each")


def run(args: Namespace) -> dict:
    """FLOP, operators and peak bytes of a call, by preset and side; float16, one picture, one prompt."""
    meta, dtype = torch.device("meta"), torch.float16
    model = unet.build(args.depth, dtype, meta)
    found: dict[str, dict[int, dict]] = {name: {} for name in NAMES.values()}
    for side in args.sides:
        models = unet.variants(model, side)
        for name, shown in NAMES.items():
            call = unet.call(models[name], side, 1, meta, dtype)
            work = flop(call)  # first, as it also makes what is kept
            with unet.empty_attention():
                dispatched = operators(call)
            found[shown][side] = {"flop": work, "operators": dispatched, "peak_bytes": unet.counted(models[name], side)}
    plain = found["without FreeScale"]
    columns = {
        "TFLOP, and beside a call without FreeScale": lambda side, of: (
            f"{of['flop'] / 1e12:.1f} ({of['flop'] / plain[side]['flop']:.2f})"
        ),
        "operators": lambda side, of: f"{of['operators']:,}",
        "GB at the peak, beside the weights": lambda side, of: f"{of['peak_bytes'] / unet.GB:.2f}",
    }
    for title, cell in columns.items():
        rows = [[name, *(cell(side, of) for side, of in sides.items())] for name, sides in found.items()]
        print(f"\n{title}\n{aligned([['', *(f'{side}²' for side in args.sides)], *rows])}", flush=True)
    return found


def draw(axis, found: dict) -> None:
    """What a preset's call takes of the work of one without FreeScale."""
    plain = found["without FreeScale"]
    for name, sides in found.items():
        shares = [of["flop"] / plain[side]["flop"] for side, of in sides.items()]
        axis.plot([str(side) for side in sides], shares, marker="o", label=name)
    axis.set_title("One call of SDXL's U-Net, counted")
    axis.set_xlabel("side of the picture, px")
    axis.set_ylabel("arithmetic, beside a call without FreeScale")
    axis.set_ylim(0)
    axis.grid(alpha=0.3)
    axis.legend()
