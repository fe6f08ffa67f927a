"""Work in chunks: so much at a time that it takes little memory, and less where memory runs out."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as MPS, the CPU and newer devices say it

# A quarter of a picture is processed at a time, as a stack of windows or a band of the blur, beside q, k, v and the results.
# Chunks of fewer tokens would save no memory that counts, and a GPU takes longer to launch their kernels than to run them.
CHUNKS, SMALLEST_CHUNK = 4, 4096


def in_chunks(
    items: list, compute: Callable[[list], Tensor], size: tuple[int, int], grid: tuple[int, int], whole: bool = False
) -> Iterator:
    """(chunk, compute(chunk)) for all items of a `size`, as many at once as cover a quarter of the `grid`, or all of it.

    Where memory runs out it goes on with half as many, down to one by one.
    """
    tokens = grid[0] * grid[1] if whole else chunk_tokens(grid)
    start, at_once = 0, max(1, int(tokens / (size[0] * size[1])))
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
        yield chunk, out
        start += len(chunk)


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


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no memory left; only CUDA has a type of error for it."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)
