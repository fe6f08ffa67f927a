"""Feed-forwards in chunks: each widens the tokens tenfold, and was the peak of what an enlarged picture takes."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from math import ceil

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....freescale_core.chunks import SMALLEST_CHUNK
from ..family import Family
from .calls import Call, on_enlarged, replaced

KEY = "freescale_feed_forward"


def chunk_feed_forwards(patched: ModelPatcher, family: Family, native_size: int = 0) -> None:
    """Let the feed-forwards of a clone work on chunks of an enlarged picture's tokens.

    A chunk is never smaller than a picture that is not enlarged, and never depends on the memory that is free, nor do the bits.
    """
    on_enlarged(patched, family, KEY, _chunked_call, native_size)


def _chunked_call(call: Call) -> Tensor:
    tokens_at_once = max(SMALLEST_CHUNK, call.family.native_tokens)
    with ExitStack() as stack:
        for module, axis in call.family.feed_forwards():
            stack.enter_context(replaced(module, "forward", partial(_forward_in_chunks, module.forward, tokens_at_once, axis)))
        return call.run()


def _forward_in_chunks(forward: Callable[[Tensor], Tensor], tokens_at_once: int, axis: int, x: Tensor) -> Tensor:
    chunks = ceil(x.shape[axis] / tokens_at_once)
    if chunks == 1:
        return forward(x)
    out = torch.empty_like(x)
    for chunk, place in zip(x.chunk(chunks, axis), out.chunk(chunks, axis), strict=True):
        place.copy_(forward(chunk))
    return out
