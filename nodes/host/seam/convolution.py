"""Convolutions that are computed otherwise for the length of a call: restrained dilation, and the rivals'.

Weights come from the call of the layer itself, so LoRA and weight streaming stay right.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from ....freescale_core.dilation import Layer
from ..errors import WarnOnce
from ..family import Family
from .calls import replaced

Convolve = Callable[..., torch.Tensor]  # (x, weight, bias, stride, around=padding_mode) → the layer's output
_said: defaultdict[str, WarnOnce] = defaultdict(WarnOnce)


@contextmanager
def computed_as(family: Family, convolves: Mapping[Layer, Convolve], node: str) -> Iterator[None]:
    """Within it these convolutions of the running model are computed so, whatever another node has put in their place.

    What it cannot keep, or cannot find, it says once, in the name of `node`.
    """
    modules = family.convolutions()
    with ExitStack() as stack:
        for layer, convolve in convolves.items():
            module = modules.get(layer)
            if module is None:
                _warn(f"{node}: {layer.name} is not there, or another node has changed what it is in; it stays as it is.")
                continue
            present: Any = module._conv_forward  # the class's own, too, where the host has taken another node's patch back
            own = getattr(present, "__func__", None) is type(module)._conv_forward
            if not own and getattr(present, "__module__", "") != __name__:
                _warn(f"{node}: another node changes {layer.name}; that has no effect while the layer is dilated.")
            stack.enter_context(replaced(module, "_conv_forward", _conv_forward(module, convolve)))
        yield


def _conv_forward(module: torch.nn.Conv2d, convolve: Convolve):
    stride, around = (module.stride[0], module.stride[1]), module.padding_mode  # circular in packs for seamless tiles

    @torch.compiler.disable  # a compiled graph would keep the dilation that it was traced with
    def conv_forward(input, weight, bias, **kwargs):
        return convolve(input, weight, bias, stride, around=around)

    return conv_forward


def _warn(text: str) -> None:
    """Once for each text: calls are many."""
    _said[text](text)
