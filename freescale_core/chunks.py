"""Work in chunks: so much at a time that it takes little memory, and less where memory runs out."""

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as MPS, the CPU and newer devices say it

# A quarter of a picture is processed at a time, as sub-grids or windows of joint tokens, beside q, k, v and the results.
# Chunks of fewer tokens would save no memory that counts, and a GPU takes longer to launch their kernels than to run them.
CHUNKS, SMALLEST_CHUNK = 4, 4096

# A U-Net's windows, which cover a picture up to four times, are attended in stacks of three quarters of it: as much as fits
# beneath the peak that its convolutions make in SDXL and SD 1.5 at 2×, 4× and 8× (python dev.py bench memory).
STACK, SMALLEST_STACK = 0.75, 12288


def in_chunks(items: Sequence, compute: Callable[[Any], Tensor], size: tuple[int, int], tokens: float) -> Iterator:
    """(chunk, compute(chunk)) for all items of a `size`, in as few chunks of so many `tokens` at most as there can be.

    They are alike in size. Where memory runs out it goes on with half as many items, down to one by one.
    """
    most = max(1, int(tokens / (size[0] * size[1])))
    start, at_once = 0, ceil(len(items) / max(1, ceil(len(items) / most)))
    while start < len(items):
        chunk, out = items[start : start + at_once], None
        try:
            out = compute(chunk)
        except RuntimeError as error:
            if len(chunk) == 1 or not is_out_of_memory(error):
                raise
        if out is None:  # out here, where the exception no longer keeps what it was computing alive
            at_once = len(chunk) // 2
            continue
        start += len(chunk)
        yield chunk, out


def in_halves(attend: Callable[[Tensor], Tensor], q: Tensor, dim: int) -> Tensor:
    """`attend(q)` of queries along `dim`, each of which has its own softmax; where memory runs out, in halves."""
    try:
        return attend(q)
    except RuntimeError as error:
        if q.shape[dim] == 1 or not is_out_of_memory(error):
            raise
    out = torch.empty_like(q)
    for queries, place in zip(q.chunk(2, dim), out.chunk(2, dim), strict=True):
        place.copy_(in_halves(attend, queries, dim))
    return out


def chunk_tokens(grid: tuple[int, int]) -> float:
    """How many tokens of a grid are processed at a time. It depends on the grid alone, not on free memory: so do the bits."""
    return max(SMALLEST_CHUNK, grid[0] * grid[1] / CHUNKS)


def stack_tokens(grid: tuple[int, int]) -> float:
    """How many tokens a stack of a U-Net's windows has at most; it depends on the grid alone, too."""
    return max(SMALLEST_STACK, grid[0] * grid[1] * STACK)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no memory left; only CUDA has a type of error for it."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)
