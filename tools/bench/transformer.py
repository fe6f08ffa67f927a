"""One call of FLUX.1-dev and Z-Image at their real widths: work and memory with Scale Fusion, directly and by tiles."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import comfy.ldm.flux.model
import comfy.supported_models as hosts
import families
import torch
from comfy.model_patcher import ModelPatcher
from measure import aligned, flop, measure, peak, table
from unet import GB, through_wrappers

META = torch.device("meta")
TEXT_TOKENS, SIGMA = 256, 0.6
TILE, PADDING = 1024, 32  # px: UltimateSDUpscale's tile at the native size, and its default padding on each side
PRESETS = ("Exact", "Fast")
YOUNGER = {"txt_ids_dims": []} if "txt_ids_dims" in comfy.ldm.flux.model.FluxParams.__annotations__ else {}


@dataclass(frozen=True)
class Model:
    """A family of the host's, its network, and the channels of its text."""

    host: str
    network: dict
    context: int
    depths: tuple[str, ...]  # what says how many layers there are

    def build(self, depth: float, dtype: torch.dtype, device: torch.device) -> ModelPatcher:
        """With `depth` of its layers, at least one of each kind."""
        layers = {name: max(1, round(depth * self.network[name])) for name in self.depths}
        config = families.configured(getattr(hosts, self.host), {**self.network, **layers}, dtype, None, computes=dtype)
        base = config.get_model({}, device=device)
        if device.type != "meta":
            families.fill(base.diffusion_model, 1)
        return families.patcher(base)


MODELS = {
    "FLUX.1-dev": Model("Flux", dict(
        image_model="flux", in_channels=16, out_channels=16, patch_size=2, vec_in_dim=768, context_in_dim=4096, hidden_size=3072, mlp_ratio=4.0,
        num_heads=24, depth=19, depth_single_blocks=38, axes_dim=[16, 56, 56], theta=10000, qkv_bias=True, guidance_embed=True, **YOUNGER,
    ), 4096, ("depth", "depth_single_blocks")),
    "Z-Image": Model("ZImage", dict(
        image_model="lumina2", dim=3840, n_layers=30, n_heads=30, n_kv_heads=30, n_refiner_layers=2, in_channels=16, patch_size=2, qk_norm=True,
        cap_feat_dim=2560, axes_dims=[32, 48, 48], axes_lens=[1536, 512, 512], rope_theta=256.0, ffn_dim_multiplier=8 / 3,
        z_image_modulation=True, time_scale=1000.0, pad_tokens_multiple=32,
    ), 2560, ("n_layers",)),
}  # fmt: skip


def add_arguments(parser: ArgumentParser) -> None:
    known = [name for name, model in MODELS.items() if hasattr(hosts, model.host)]
    parser.add_argument("--models", nargs="+", choices=known, default=known)
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[2048, 4096, 8192, 16384], help="px of the sizes that are counted"
    )
    parser.add_argument("--seconds", type=int, nargs="*", default=[], metavar="PX", help="also measure the time at these sizes")
    parser.add_argument("--depth", type=float, default=0.05, help="part of the layers, which are alike; 1 is all")
    parser.add_argument("--repeats", type=int, default=3)


def call(model: ModelPatcher, context: int, side: int, device: torch.device, dtype: torch.dtype, **options) -> Callable:
    """One call of the network on random input."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator).to(device, dtype)  # noqa: E731
    x, text, pooled = draw(1, 16, side // 8, side // 8), draw(1, TEXT_TOKENS, context), draw(1, 768)
    time, guidance, sigma = torch.full((1,), SIGMA, device=device), torch.full((1,), 3.5, device=device), torch.full((1,), SIGMA)
    guided = "guidance_embed" in model.model.model_config.unet_config
    own = {"y": pooled, "guidance": guidance} if guided else {"num_tokens": TEXT_TOKENS}

    def network(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs):
        return model.model.diffusion_model(x, time, context=text, transformer_options=transformer_options, **own)

    return through_wrappers(model, network, x, sigma, text, **options)


def no_attention(func, q, k, v, heads, *args, skip_reshape=False, skip_output_reshape=False, **kwargs) -> torch.Tensor:
    """An override whose result is empty: on the meta device attention would make a matrix of all pairs, as no kernel in use does."""
    rows, length, width = (q.shape[0], q.shape[2], heads * v.shape[3]) if skip_reshape else (*q.shape[:2], v.shape[2])
    return q.new_empty(rows, heads, length, width // heads) if skip_output_reshape else q.new_empty(rows, length, width)


def variants(model: ModelPatcher) -> dict[str, ModelPatcher]:
    return {"direct": model, **{preset: families.with_scale_fusion(model, preset=preset) for preset in PRESETS}}


def run(args: Namespace) -> dict:
    """TFLOP and peak GB of one call, counted in bfloat16 without any weights; where asked for, seconds with random ones."""
    return {name: run_model(name, MODELS[name], args) for name in args.models}


def run_model(name: str, model: Model, args: Namespace) -> dict:
    dtype = torch.bfloat16
    empty = model.build(args.depth, dtype, META)
    ways = variants(empty)
    counted = lambda m, side, **more: call(m, model.context, side, META, dtype, **more)  # noqa: E731
    work = {way: {side: flop(counted(m, side)) for side in args.sides} for way, m in ways.items()}
    tile = flop(counted(empty, TILE + 2 * PADDING))
    work["tiles"] = {side: ceil(side / TILE) ** 2 * tile for side in args.sides}
    taken = {
        way: {side: peak(counted(m, side, optimized_attention_override=no_attention), META) for side in args.sides}
        for way, m in ways.items()
    }
    print(f"\nTFLOP of one call of {name} with {args.depth:.0%} of its layers, and as a part of direct sampling's; tiles: all that a "
          f"picture is cut into, of {TILE} px and {PADDING} more on each side")  # fmt: skip
    print(_beside_direct(work, 1e12, args.sides))
    print("\nPeak GB of that call beside the weights, and as a part of direct sampling's")
    print(_beside_direct(taken, GB, args.sides), flush=True)
    seconds = {side: _seconds(model, side, args) for side in args.seconds}
    for side, results in seconds.items():
        print(f"\nOne call of {name} at {side}², {args.dtype}, median of {args.repeats}")
        print(table(results, {"/ direct": lambda _: "direct"}), flush=True)
    return {"flop": work, "peak_bytes": taken, "seconds": seconds}


def _seconds(model: Model, side: int, args: Namespace) -> dict:
    full = model.build(args.depth, args.dtype, args.device)
    functions = {way: call(m, model.context, side, args.device, args.dtype) for way, m in variants(full).items()}
    return measure(functions, args.repeats, args.device)


def _beside_direct(found: dict, unit: float, sides: list[int]) -> str:
    rows = [
        [way, *(f"{figures[side] / unit:.4g} ({figures[side] / found['direct'][side]:.2f})" for side in sides)]
        for way, figures in found.items()
    ]
    return aligned([["", *(f"{side}²" for side in sides)], *rows])


def draw(axis, results: dict) -> None:
    for name, found in results.items():
        for way, figures in found["flop"].items():
            axis.loglog(list(figures), [f / 1e12 for f in figures.values()], marker="o", label=f"{name}, {way}")
    axis.set_xlabel("side, px")
    axis.set_ylabel("TFLOP of a call")
    axis.legend()
