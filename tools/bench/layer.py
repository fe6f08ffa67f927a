"""One Scale Fusion layer at SDXL's real width, against the authors' algorithm (tests/oracle.py).

That is the straightforward form of the released code: projections, attention and output projection of every window on its
own, two dense blurs. Ours is freescale_core, exact (full) and strided; plain is ordinary attention over all tokens.
"""

from argparse import ArgumentParser, Namespace
from functools import partial

import oracle
import torch
from freescale.freescale_core.attention import local_attention, scale_fusion
from freescale.freescale_core.blur import fold_feature_blur
from freescale.freescale_core.windows import jittered_views, window_plan
from measure import bars, flop, measure, table

HEAD = 64
RIVALS = {
    "/ authors": lambda name: name.replace("ours", "authors") if name.startswith("ours") else "",
    "/ plain": lambda name: "plain attention",
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--width", type=int, default=640, help="features: 640 at SDXL's latent/2, 1280 at latent/4")
    parser.add_argument("--native", type=int, help="tokens a side of the native picture at that level (64 in SDXL's first)")
    parser.add_argument("--scale", type=int, help="times the native size; this or --native: one case instead of the usual two")
    parser.add_argument("--repeats", type=int, default=9)


def variants(x, weights, grid, scale) -> dict:
    """Name → function of one layer [B, n, C] → [B, n, C]."""
    heads = x.shape[-1] // HEAD
    plan = window_plan(*grid, float(scale))
    views = jittered_views(plan, 2412)

    def ours(blur, strides=None):
        q, k, v = (x @ weights[name].T for name in ("to_q", "to_k", "to_v"))
        attend = lambda q, k, v, grid: oracle.attention(q, k, v, heads)  # noqa: E731
        overall, fused = scale_fusion(
            q, k, v, plan.grid, partial(local_attention, plan=plan, views=views), scale, attend, strides
        )
        result = fused if blur == "hw" else torch.cat([overall, fused])
        del q, overall, fused  # as in the host
        result = oracle.out(result, weights)
        return result if blur == "hw" else fold_feature_blur(*result.chunk(2), scale)

    def authors(blur, strides=None):
        return oracle.scale_fusion_layer(x, weights, heads, grid, plan.jitter, views, scale, blur, strides)

    return {
        "plain attention": lambda: oracle.self_attention(x, weights, heads),
        "authors, hw": lambda: authors("hw"),
        "ours, hw": lambda: ours("hw"),
        "authors, hwd": lambda: authors("hwd"),
        "ours, hwd": lambda: ours("hwd"),
        "authors, hw, strided": lambda: authors("hw", (scale, scale)),
        "ours, hw, strided": lambda: ours("hw", (scale, scale)),
    }


def case(width: int, native: int, scale: int, device: torch.device, dtype: torch.dtype) -> dict:
    """The variants on random tokens."""
    generator = torch.Generator().manual_seed(0)
    side = native * scale
    draw = lambda *shape, by=1.0: (torch.randn(shape, generator=generator) * by).to(device, dtype)  # noqa: E731
    weights = {name: draw(width, width, by=width**-0.5) for name in ("to_q", "to_k", "to_v", "to_out")}
    weights["to_out_bias"] = draw(width)
    return variants(draw(1, side * side, width), weights, (side, side), scale)


def run_case(width: int, native: int, scale: int, args: Namespace) -> dict:
    """One table: whether the results are equal, and what they cost."""
    print(f"\n{native * scale}² tokens, {scale}× of {native}², width {width}, median of {args.repeats}", flush=True)
    functions = case(width, native, scale, args.device, args.dtype)
    for kind in ("hw", "hwd", "hw, strided"):
        difference = (functions[f"ours, {kind}"]() - functions[f"authors, {kind}"]()).abs().max().item()
        print(f"largest difference, {kind}: {difference:.1e}", flush=True)
    results = measure(functions, args.repeats, args.device)
    for name, function in case(width, native, scale, torch.device("meta"), args.dtype).items():
        results[name]["flop"] = flop(function)
    print(table(results, RIVALS, args.rates))
    return results


def run(args: Namespace) -> dict:
    """By default two cases of equally many tokens: 2×, and 4×, where strided counts."""
    cases = [(args.native or 32, args.scale or 2)] if args.native or args.scale else [(32, 2), (16, 4)]
    return {f"{scale}× of {native}² tokens": run_case(args.width, native, scale, args) for native, scale in cases}


def draw(axis, results: dict) -> None:
    bars(axis, {f"{name}, {case[:2]}": result for case, found in results.items() for name, result in found.items()})
