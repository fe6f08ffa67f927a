"""python dev.py bench [layer | growth | step | memory | transformer | cascade | pipeline]: Scale Fusion's speed and memory against its rivals.

Without a name all but the pipeline run, in about an hour on two CPU cores. What is compared runs in one process, in turns, after
a warm-up; ratios are of medians. It runs on a GPU where there is one (CUDA_VISIBLE_DEVICES= hides it), in float16 there.
FREESCALE_ATTENTION chooses ComfyUI's attention for step and cascade by the name of its option: use_sage_attention,
use_flash_attention, use_split_cross_attention, use_quad_cross_attention.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import torch

GPU = torch.cuda.is_available()
if GPU:
    os.environ["FREESCALE_GPU"] = "1"
sys.path.append(str(Path(__file__).parents[1]))
import inside  # noqa: E402, F401  a real ComfyUI with the pack in it

# isort: split
import cascade  # noqa: E402
import growth  # noqa: E402
import layer  # noqa: E402
import measure  # noqa: E402
import pipeline  # noqa: E402
import transformer  # noqa: E402
import unet  # noqa: E402

KINDS = {  # name → (its arguments, what runs, what draws its figures)
    "layer": (layer.add_arguments, layer.run, layer.draw),
    "growth": (growth.add_arguments, growth.run, growth.draw),
    "step": (unet.add_arguments, unet.run, unet.draw),
    "memory": (unet.add_memory_arguments, unet.run_memory, unet.draw_memory),
    "transformer": (transformer.add_arguments, transformer.run, transformer.draw),
    "cascade": (cascade.add_arguments, cascade.run, cascade.draw),
    "pipeline": (pipeline.add_arguments, pipeline.run, pipeline.draw),
}


def parser_of(kind: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"dev.py bench {kind}", description=KINDS[kind][1].__doc__, allow_abbrev=False)
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float16" if GPU else "float32")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--plot", type=Path, help="draw the figures into this PNG")
    KINDS[kind][0](parser)
    return parser


def parse(argv: list[str]) -> dict[str, argparse.Namespace]:
    """Kind → its options. Where all run, an option goes to those that have it."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", nargs="?", choices=KINDS, help="one of them, followed by its own options (its --help tells)")
    chosen = parser.parse_args([word for word in argv[:1] if word in ("-h", "--help") or not word.startswith("-")]).kind
    rest = argv[1:] if chosen else argv
    parsed = {
        kind: parser_of(kind).parse_known_args(rest)
        for kind in ([chosen] if chosen else [kind for kind in KINDS if kind != "pipeline"])
    }
    if unknown := [word for word in rest if all(word in left for _, left in parsed.values())]:
        parser.error(f"unknown: {' '.join(unknown)}")
    return {kind: args for kind, (args, _) in parsed.items()}


def main(argv: list[str]) -> None:
    runs = parse(argv)
    any_of = next(iter(runs.values()))  # all have the same dtype and files
    device, dtype = torch.device("cuda" if GPU else "cpu"), getattr(torch, any_of.dtype)
    machine = torch.cuda.get_device_name() if GPU else f"CPU, {torch.get_num_threads()} threads"
    results = {}
    with torch.inference_mode():
        rates = measure.rates(device, dtype)
        speed = (
            f"{rates['flop_per_second'] / 1e12:.3g} TFLOP/s in matrix products, {rates['bytes_per_second'] / 1e9:.3g} GB/s copied"
        )
        print(f"{machine}, torch {torch.__version__}, {dtype}: {speed}", flush=True)
        for kind, args in runs.items():
            args.device, args.dtype, args.rates = device, dtype, rates
            results[kind] = KINDS[kind][1](args)
    if any_of.json:
        any_of.json.write_text(json.dumps({"machine": machine, "dtype": str(dtype), "rates": rates, **results}, indent=1))
    if any_of.plot:
        plot(any_of.plot, machine, results)


def plot(file: Path, machine: str, results: dict) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5 * len(results)), layout="constrained")
    for axis, kind in zip(figure.subplots(len(results), squeeze=False)[:, 0], results):
        axis.set_title(f"{kind}: {machine}")
        KINDS[kind][2](axis, results[kind])
    figure.savefig(file, dpi=110)


main(sys.argv[1:])
