"""Quantised models, as people load them to save memory: layers that turn their weights into floats themselves."""

import comfy.ops
import torch
from dits import maker


def quantise(layer):
    """The weight as whole numbers with one scale, which the layer alone knows to read."""
    layer.scale = layer.weight.abs().max() / 127
    layer.weight = torch.nn.Parameter((layer.weight / layer.scale).round().to(torch.int8), requires_grad=False)


class Gguf(comfy.ops.manual_cast):
    """Stands for ComfyUI-GGUF's layers: the host's own classes that turn their weights into floats at each call."""

    class Conv2d(comfy.ops.manual_cast.Conv2d):
        def forward_comfy_cast_weights(self, input):
            return self._conv_forward(input, self.weight.to(input) * self.scale, self.bias)

    class Linear(comfy.ops.manual_cast.Linear):
        def forward_comfy_cast_weights(self, input):
            return torch.nn.functional.linear(input, self.weight.to(input) * self.scale, self.bias)


class Nf4(comfy.ops.manual_cast):
    """Stands for the NF4 loaders' layers: a Linear that is no torch.nn.Linear, all else the host's."""

    class Linear(torch.nn.Module):
        def __init__(self, in_features, out_features, bias=True, dtype=None, device=None):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.empty(out_features, in_features, dtype=dtype, device=device))
            self.bias = torch.nn.Parameter(torch.empty(out_features, dtype=dtype, device=device)) if bias else None

        def forward(self, input):
            return torch.nn.functional.linear(input, self.weight.to(input) * self.scale, self.bias)


def quantised(family, operations):
    """A MODEL of these layers, quantised; and one of the host's own with weights that are rounded as much."""
    small, rounded = (maker(family).build(family, operations=kind) for kind in (operations, None))
    layers = dict(rounded.model.diffusion_model.named_modules())
    for name, module in small.model.diffusion_model.named_modules():
        if isinstance(module, tuple(getattr(operations, kind) for kind in ("Conv2d", "Linear") if kind in vars(operations))):
            quantise(module)
            layers[name].weight.data.copy_(module.weight.float() * module.scale)
    return small, rounded
