"""How everything here is measured: in turns after a warm-up, by median; memory by the tensors that come and go."""

import statistics
import sys
import time
import weakref
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm


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


class _Operators(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def operators(function: Callable) -> int:
    """How many operators it dispatches, but for views, which are no work."""
    with _Operators() as counter:
        function()
    return counter.count


def peak(function: Callable, device: torch.device) -> int:
    """Bytes at the peak, above what there was before: on a GPU by its allocator's own count."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - before
    with Storages() as storages:
        function()
    return storages.peak


def flop(function: Callable) -> int:
    """Floating-point operations of matrix products and convolutions; run it on the meta device, where attention is made of them."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def seconds(function: Callable, device: torch.device) -> float:
    """One call's time, on a GPU by its events."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def measure(functions: dict[str, Callable], repeats: int, device: torch.device) -> dict[str, dict]:
    """Name → seconds of each repeat and peak bytes. Variants take turns, so that a drift of the machine reaches all alike."""
    results = {name: {"peak_bytes": peak(function, device), "seconds": []} for name, function in functions.items()}  # warms up
    for _ in tqdm(range(repeats), desc="rounds", file=sys.stderr):
        for name, function in functions.items():
            results[name]["seconds"].append(seconds(function, device))
    return results


def median(result: dict) -> float:
    return statistics.median(result["seconds"])


def rates(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """What the machine can do: FLOP/s of a large matrix product, bytes/s of a copy."""
    side = 8192 if device.type == "cuda" else 2048
    x = torch.randn(side, side, device=device).to(dtype)
    product = measure({"": lambda: x @ x}, 5, device)[""]
    copy = measure({"": x.clone}, 5, device)[""]
    return {"flop_per_second": 2 * side**3 / median(product), "bytes_per_second": 2 * x.nbytes / median(copy)}


def table(results: dict[str, dict], rivals: dict[str, Callable[[str], str]], rates: dict | None = None) -> str:
    """The figures of `measure`: medians, spread, peak, and the ratios to each rival (column → a variant's rival there)."""
    rows = [["", "median s", "min … max", *rivals, "peak MB", *(f"peak {column}" for column in rivals)]]
    if rates:
        rows[0].append("of matrix rate")
    for name, result in results.items():
        others = [results.get(rival(name)) for rival in rivals.values()]
        row = [name, f"{median(result):.4g}", f"{min(result['seconds']):.4g} … {max(result['seconds']):.4g}"]
        row += [f"{median(result) / median(other):.2f}" if other else "" for other in others]
        row += [f"{result['peak_bytes'] / 2**20:.0f}"]
        row += [f"{result['peak_bytes'] / other['peak_bytes']:.2f}" if other else "" for other in others]
        if rates:
            row.append(f"{result['flop'] / median(result) / rates['flop_per_second']:.0%}")
        rows.append(row)
    return aligned(rows)


def aligned(rows: list[list[str]]) -> str:
    """Rows of text in columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths)))
        for row in rows
    )


def bars(axis, results: dict[str, dict]) -> None:
    """Medians with their spread, as bars."""
    names = list(results)[::-1]
    medians = [median(results[name]) for name in names]
    spread = [
        [m - min(results[n]["seconds"]) for n, m in zip(names, medians)],
        [max(results[n]["seconds"]) - m for n, m in zip(names, medians)],
    ]
    axis.barh(names, medians, xerr=spread)
    axis.set_xlabel("seconds")
