"""One call of SDXL's U-Net at its real width, random weights: time, work and memory with and without Scale Fusion."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isqrt

import comfy.model_patcher
import comfy.supported_models
import families
import oracle
import torch
from comfy.ldm.modules import attention as host_attention
from comfy.ldm.modules.attention import BasicTransformerBlock
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from freescale.freescale_core.geometry import Enlargement, enlargement
from freescale.freescale_core.windows import fixed_views, window_plan
from freescale.nodes.host.family import family_of
from measure import aligned, bars, flop, measure, peak, table

TEXT_TOKENS = 77
SIGMA = 1.0
RIVALS = {
    "/ authors hwd": lambda name: "authors, hwd",
    "/ authors hw": lambda name: "authors, hw",
    "/ plain": lambda name: "plain",
}
GB = 2**30


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sides", type=int, nargs="+", default=[2048], help="px")
    parser.add_argument(
        "--depth", type=float, default=0.1, help="part of SDXL's transformer blocks, at least one of each; 1 is all"
    )
    parser.add_argument("--count", type=int, nargs="*", default=[2048, 4096, 8192], help="px of the sizes whose FLOP are counted")
    parser.add_argument("--compile", action="store_true", help="also through torch.compile")
    parser.add_argument("--repeats", type=int, default=1)


def add_memory_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096, 8192], help="px")


def build(depth: float, dtype: torch.dtype, device: torch.device, native: int | None = None) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of SDXL's width with `depth` of its transformer blocks; `native` px replaces its own native size."""
    blocks = [max(1, round(depth * full)) for full in (2, 10)]
    unet = {
        **families.XL,
        "model_channels": 320,
        "num_head_channels": 64,
        "context_dim": 2048,
        "adm_in_channels": 2816,
        "transformer_depth": [0, 0, *(n for n in blocks for _ in range(2))],
        "transformer_depth_output": [0, 0, 0, *(n for n in blocks for _ in range(3))],
        "transformer_depth_middle": blocks[1],
    }
    base = families.configured(comfy.supported_models.SDXL, unet, dtype, native, computes=dtype).get_model({}, device=device)
    if device.type != "meta":
        families.fill(base.diffusion_model, 1)
    return families.patcher(base)


def authors(model: comfy.model_patcher.ModelPatcher, size: Enlargement, blur: str) -> comfy.model_patcher.ModelPatcher:
    """A clone whose self-attentions are the authors' layer, for square pictures."""
    patched = model.clone()
    for name, module in model.get_model_object("diffusion_model").named_modules():
        if isinstance(module, BasicTransformerBlock):
            patched.add_object_patch(f"diffusion_model.{name}.attn1.forward", _authors_layer(module.attn1, size, blur))
    return patched


def _authors_layer(attn, size: Enlargement, blur: str) -> Callable:
    def forward(x, *args, **kwargs):  # [B, h·w, C]
        weights = {name: getattr(attn, name).weight for name in ("to_q", "to_k", "to_v")}
        weights |= {"to_out": attn.to_out[0].weight, "to_out_bias": attn.to_out[0].bias}
        grid = (isqrt(x.shape[1]),) * 2
        plan = window_plan(*grid, size.ratio)
        views = fixed_views(plan)
        return oracle.scale_fusion_layer(x, weights, attn.heads, grid, plan.jitter, views, size.factor, blur)

    return forward


def variants(model: comfy.model_patcher.ModelPatcher, side: int) -> dict[str, comfy.model_patcher.ModelPatcher]:
    """Name → MODEL. The authors' full mode is that of their current code, hwd; at the native size only ours says what to do."""
    ours = families.with_scale_fusion
    size = enlargement(side, side, family_of(model).native[0])
    return {
        "plain": model,
        **({f"authors, {blur}": authors(model, size, blur) for blur in ("hw", "hwd")} if size else {}),
        "ours, hw (Exact)": ours(model),
        "ours, hwd": ours(model, blur_axes="hwd"),
        "ours, hw, mixed (Balanced)": ours(model, preset="Balanced"),
        "ours, hw, strided (Fast)": ours(model, preset="Fast"),
        "ours, draft (Draft)": ours(model, preset="Draft"),
    }


@contextmanager
def installed(model: comfy.model_patcher.ModelPatcher) -> Iterator[None]:
    """With the MODEL's object patches in place, as while the host samples."""
    model.patch_model(load_weights=False)
    try:
        yield
    finally:
        model.unpatch_model(unpatch_weights=False)


def through_wrappers(
    model: comfy.model_patcher.ModelPatcher, network: Callable, x: torch.Tensor, sigma: torch.Tensor, text=None, **options
) -> Callable:
    """One call of a network behind the MODEL's wrappers, with its options and more, as the host's `apply_model` makes it."""
    own = {"wrappers": model.wrappers, "cond_or_uncond": [0] * len(x)}
    options = {**model.model_options["transformer_options"], **own, **options}

    def once():
        executor = WrapperExecutor.new_class_executor(network, model.model, get_all_wrappers(WrappersMP.APPLY_MODEL, options))
        with installed(model):
            return executor.execute(x, sigma, None, text, None, options)

    return once


def call(
    model: comfy.model_patcher.ModelPatcher,
    height: int,
    batch: int,
    device: torch.device,
    dtype: torch.dtype,
    width: int | None = None,
) -> Callable:
    """One call of the U-Net on random input of height × width px (square unless told)."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator).to(device, dtype)  # noqa: E731
    config = model.model.model_config.unet_config
    tokens = 1 if config.get("use_temporal_attention") else TEXT_TOKENS  # SVD's prompt is a picture
    x = draw(batch, config["in_channels"], height // 8, (width or height) // 8)
    context = draw(batch, tokens, config["context_dim"])
    pooled = draw(batch, config["adm_in_channels"]) if "adm_in_channels" in config else None
    time, sigma = torch.full((batch,), 500.0, device=device), torch.full((batch,), SIGMA)

    def unet(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs):
        inputs = dict(context=context, y=pooled, num_video_frames=batch)  # frames for those that ask for them
        return model.model.diffusion_model(x, time, **inputs, transformer_options=transformer_options)

    return through_wrappers(model, unet, x, sigma)


def compiled(model: comfy.model_patcher.ModelPatcher) -> comfy.model_patcher.ModelPatcher:
    """A clone whose U-Net is compiled, as ComfyUI's TorchCompileModel does it."""
    patched = model.clone()
    patched.add_object_patch("diffusion_model", torch.compile(model.get_model_object("diffusion_model")))
    return patched


def run(args: Namespace) -> dict:
    """Seconds and peak of one call, then the FLOP of all of SDXL at sizes that need not fit here."""
    model = build(args.depth, args.dtype, args.device)
    seconds = {side: run_side(model, side, args) for side in args.sides}
    return {"seconds": seconds, "flop": work(args.count) if args.count else {}}


def run_side(model: comfy.model_patcher.ModelPatcher, side: int, args: Namespace) -> dict:
    """One table: what a call costs at this size."""
    print(
        f"\nOne call of the U-Net at {side}², {args.depth:.0%} of SDXL's transformer blocks, {args.dtype}, median of {args.repeats}"
    )
    models = variants(model, side)
    if args.compile:
        models |= {f"{name}, compiled": compiled(models[name]) for name in ("plain", "ours, hw (Exact)")}
    functions = {name: call(patched, side, 1, args.device, args.dtype) for name, patched in models.items()}
    if args.compile:
        for name in functions:  # nothing is compiled where bytes are counted
            functions[name]()
    results = measure(functions, args.repeats, args.device)
    print(table(results, RIVALS), flush=True)
    return results


def work(sides: list[int]) -> dict:
    """FLOP of one call with all blocks, counted on the meta device, where attention is two matrix products."""
    meta = torch.device("meta")
    model = build(1, torch.float16, meta)
    found = {
        side: {name: flop(call(m, side, 1, meta, torch.float16)) for name, m in variants(model, side).items()} for side in sides
    }
    print("\nTFLOP of one call with all of SDXL's blocks, and as a part of the authors' hwd")
    rows = [["", *(f"{side}²" for side in sides)]]
    for name in found[sides[0]]:
        rows.append([name, *(f"{f[name] / 1e12:.1f} ({f[name] / f['authors, hwd']:.2f})" for f in found.values())])
    print(aligned(rows))
    return found


def draw(axis, results: dict) -> None:
    bars(axis, {f"{name}, {side}²": result for side, found in results["seconds"].items() for name, result in found.items()})


@contextmanager
def empty_attention() -> Iterator[None]:
    """On the meta device attention would make a matrix of all pairs of tokens, which no kernel in use does."""
    before = host_attention.optimized_attention, host_attention.optimized_attention_masked
    host_attention.optimized_attention = host_attention.optimized_attention_masked = lambda q, *args, **kwargs: torch.empty_like(
        q
    )
    try:
        yield
    finally:
        host_attention.optimized_attention, host_attention.optimized_attention_masked = before


def counted(
    model: comfy.model_patcher.ModelPatcher,
    height: int,
    batch: int = 1,
    dtype: torch.dtype = torch.float16,
    width: int | None = None,
) -> int:
    """Peak bytes of one call on the meta device, beside the weights."""
    meta = torch.device("meta")
    with empty_attention():
        return peak(call(model, height, batch, meta, dtype, width), meta)


def run_memory(args: Namespace) -> dict:
    """Peak memory of a call by the tensors alive, in float16 with all blocks; and whether real calls agree with the count.

    What a kernel takes for itself, such as a convolution's workspace, is not in the count. On a GPU the real calls have all
    blocks and every size, and the allocator's peak counts such workspaces; elsewhere they are small.
    """
    meta, dtype = torch.device("meta"), torch.float16
    model = build(1, dtype, meta)
    weights = sum(p.nbytes for p in model.model.diffusion_model.parameters())
    print(f"\nPeak GB of one call beside the weights ({weights / GB:.2f} GB), float16, one picture, one prompt at a time")
    names = ("plain", "ours, hw (Exact)", "ours, hwd", "ours, hw, strided (Fast)")
    found = {name: {side: counted(variants(model, side)[name], side) for side in args.sides} for name in names}
    rows = [[name, *(f"{size / GB:.2f}" for size in sizes.values())] for name, sizes in found.items()]
    print(aligned([["", *(f"{side}²" for side in args.sides)], *rows]))

    if args.device.type == "cuda":
        real, sides = build(1, dtype, args.device), args.sides
        expected = {(name, side): found[name][side] for side in sides for name in names}
        print("\nThe count against real calls")
    else:  # small, and enlarged enough that every part of a call works as at 4096²
        native, sides = 512, [1280]
        dtype = args.dtype
        model, real = (build(0.1, dtype, device, native) for device in (meta, args.device))
        expected = {(name, side): counted(variants(model, side)[name], side, 1, dtype) for side in sides for name in names}
        print(f"\nThe count against real calls, native size {native}, a tenth of the blocks, {dtype}")
    measured = {
        (name, side): peak(call(variants(real, side)[name], side, 1, args.device, dtype), args.device) for name, side in expected
    }
    rows = [
        [f"{name}, {side}²", f"{count / GB:.3f}", f"{taken / GB:.3f}", f"{taken / count:.3f}"]
        for ((name, side), count), taken in zip(expected.items(), measured.values())
    ]
    print(aligned([["", "counted GB", "measured GB", "ratio"], *rows]))
    by_name = lambda of: {f"{name}, {side}²": value for (name, side), value in of.items()}  # noqa: E731
    return {"weights": weights, "peak_bytes": found, "counted": by_name(expected), "measured": by_name(measured)}


def draw_memory(axis, results: dict) -> None:
    for name, sizes in results["peak_bytes"].items():
        axis.loglog(list(sizes), [size / GB for size in sizes.values()], marker="o", label=name)
    axis.set_xlabel("side, px")
    axis.set_ylabel("GB beside the weights")
    axis.legend()
