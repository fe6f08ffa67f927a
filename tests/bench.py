"""python dev.py bench: one Scale Fusion layer against the authors' algorithm, at SDXL's real width, in one run.

The rival is tests/oracle.py, the straightforward form of the released code: projections, attention and output
projection of every window on its own, two dense blurs. Ours is freescale_core, exact (full) and strided. Ratios are of
medians, after a warm-up; plain is the layer's ordinary attention over all tokens. Variants take turns, so that a drift
of the machine reaches all alike.
"""

import argparse
import importlib
import importlib.util
import json
import statistics
import sys
import time
import weakref
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
HEAD = 64


def load(name: str, path: Path, package: bool = False):
    """Import a file without putting the pack's root on sys.path."""
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)] if package else None)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variants(x, weights, heads, grid, scale):
    """Name → function of one layer [B, n, C] → [B, n, C]."""
    geometry, attention = (importlib.import_module(f"freescale_core.{name}") for name in ("geometry", "attention"))
    oracle = sys.modules["oracle"]
    plan = geometry.window_plan(*grid, float(scale))
    views = geometry.jittered_views(plan, 2412)

    def ours(blur, strides=None):
        q, k, v = (x @ weights[name].T for name in ("to_q", "to_k", "to_v"))
        attend = lambda q, k, v, grid: oracle.attention(q, k, v, heads)  # noqa: E731
        overall, fused = attention.scale_fusion(q, k, v, plan, views, scale, attend, strides)
        result = fused if blur == "hw" else torch.cat([overall, fused])
        del q, overall, fused  # as in the host
        result = oracle.out(result, weights)
        return result if blur == "hw" else attention.fold_feature_blur(*result.chunk(2), scale)

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


class Storages(TorchDispatchMode):
    """Counts the bytes of the tensors that come and go inside it; what a kernel allocates for itself it cannot see."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor.untyped_storage())
        return out

    def add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self.seen:
            self.seen.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.drop, key, size)

    def drop(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


def measure(functions: dict, repeats: int, device: torch.device) -> dict[str, dict]:
    """Seconds per call (all repeats) and the peak memory above the inputs in bytes, on a GPU the device's own count."""
    results = {name: {"seconds": []} for name in functions}
    for turn in tqdm(range(repeats + 1), desc="rounds, the first warms up", file=sys.stderr):
        for name, function in functions.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                function()
                end.record()
                torch.cuda.synchronize()
                seconds = start.elapsed_time(end) / 1000
                results[name]["peak_bytes"] = torch.cuda.max_memory_allocated() - before
            else:
                began = time.perf_counter()
                function()
                seconds = time.perf_counter() - began
                if not turn:
                    with Storages() as storages:
                        function()
                    results[name]["peak_bytes"] = storages.peak
            if turn:
                results[name]["seconds"].append(seconds)
    return results


def report(results: dict[str, dict]) -> str:
    """The table: medians, spread, and the ratio to the rival of the same kind."""
    lines = [f"{'layer':24}{'median s':>10}{'min … max':>18}{'/ authors':>11}{'/ plain':>9}{'peak MB':>9}"]
    medians = {name: statistics.median(r["seconds"]) for name, r in results.items()}
    for name, r in results.items():
        rival = medians.get(name.replace("ours", "authors")) if name.startswith("ours") else None
        spread = f"{min(r['seconds']):.4f} … {max(r['seconds']):.4f}"
        peak = f"{r['peak_bytes'] / 2**20:.0f}" if "peak_bytes" in r else ""
        ratio = f"{medians[name] / rival:.2f}" if rival else ""
        lines.append(
            f"{name:24}{medians[name]:>10.4f}{spread:>18}{ratio:>11}{medians[name] / medians['plain attention']:>9.2f}{peak:>9}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="dev.py bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=int, default=2, help="times the native size (2 = 2048² at width 640)")
    parser.add_argument("--width", type=int, default=640, help="features: 640 at SDXL's latent/2, 1280 at latent/4")
    parser.add_argument("--native", type=int, default=64, help="tokens a side of the native picture at that level")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    args = parser.parse_args()
    load("freescale_core", ROOT / "freescale_core" / "__init__.py", package=True)
    load("oracle", ROOT / "tests" / "oracle.py")

    device = torch.device(args.device)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    generator = torch.Generator().manual_seed(0)
    side = args.native * args.scale
    draw = lambda *shape, by=1.0: (torch.randn(shape, generator=generator) * by).to(device, dtype)  # noqa: E731
    weights = {name: draw(args.width, args.width, by=args.width**-0.5) for name in ("to_q", "to_k", "to_v", "to_out")}
    weights["to_out_bias"] = draw(args.width)
    x = draw(1, side * side, args.width)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{side}×{side} tokens, width {args.width}, {dtype}, {name}, median of {args.repeats}", flush=True)
    with torch.inference_mode():
        functions = variants(x, weights, args.width // HEAD, (side, side), args.scale)
        for kind in ("hw", "hwd", "hw, strided"):
            difference = (functions[f"ours, {kind}"]() - functions[f"authors, {kind}"]()).abs().max().item()
            print(f"largest difference, {kind}: {difference:.1e}", flush=True)
        results = measure(functions, args.repeats, device)
    print(report(results))
    if args.json:
        args.json.write_text(
            json.dumps({"settings": vars(args) | {"json": str(args.json)}, "device": name, "results": results}, indent=1)
        )


if __name__ == "__main__":
    main()
