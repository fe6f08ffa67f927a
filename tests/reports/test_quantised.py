"""Quantised U-Nets, as people load them to save memory: known by what their layers have, or refused by name."""

import comfy.ops
import pytest
import torch
from families import FAMILIES, build, configured, fill, patcher
from patching import LARGE, NATIVE, both, every_method

SDXL = FAMILIES["SDXL"]


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
        def __init__(self, inputs, outputs, bias=True, dtype=None, device=None):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.empty(outputs, inputs, dtype=dtype, device=device))
            self.bias = torch.nn.Parameter(torch.empty(outputs, dtype=dtype, device=device)) if bias else None

        def forward(self, input):
            return torch.nn.functional.linear(input, self.weight.to(input) * self.scale, self.bias)


def quantised(operations):
    """SDXL of these layers, quantised; and of the host's own with weights that are rounded as much."""
    config = configured(SDXL.host, SDXL.unet)
    config.custom_operations = operations
    base = config.get_model({}, device="cpu")
    fill(base.diffusion_model, 1)
    rounded = build(SDXL)
    layers = dict(rounded.model.diffusion_model.named_modules())
    for name, module in base.diffusion_model.named_modules():
        if isinstance(module, tuple(getattr(operations, kind) for kind in ("Conv2d", "Linear") if kind in vars(operations))):
            quantise(module)
            layers[name].weight.copy_(module.weight.float() * module.scale)
    return patcher(base), rounded


@pytest.mark.parametrize("operations", [Gguf, Nf4])
@every_method
def test_layers_that_turn_their_weights_into_floats_themselves(run, operations, patch):
    """ComfyUI-GGUF and the NF4 loaders: SDXL with another pack's Linear and Conv2d draws as with the host's."""
    small, rounded = quantised(operations)
    expected = run(patch(rounded), LARGE)
    assert torch.allclose(run(patch(small), LARGE), expected, atol=1e-5 * float(expected.abs().max()))
    assert not torch.allclose(run(small, LARGE), expected, atol=1e-2)
    assert torch.equal(run(patch(small), NATIVE), run(small, NATIVE))


@pytest.mark.parametrize("operations", ["disable_weight_init", "manual_cast", "fp8_ops"])
def test_the_hosts_own_layers(run, operations):
    """ComfyUI's kinds of layers: as they are, converted at each call, and multiplied in fp8 where a GPU does it."""
    config = configured(SDXL.host, SDXL.unet)
    config.custom_operations = getattr(comfy.ops, operations)
    base = config.get_model({}, device="cpu")
    fill(base.diffusion_model, 1)
    assert torch.equal(run(both(patcher(base)), LARGE), run(both(build(SDXL)), LARGE))


class NunchakuSDXLUNetModel(torch.nn.Module):
    """Stands for the network of ComfyUI-nunchaku#680: named as the host's, no class of it, with one layer for q, k and v."""

    def __init__(self, network):
        super().__init__()
        self.input_blocks, self.middle_block, self.output_blocks = (
            network.input_blocks,
            network.middle_block,
            network.output_blocks,
        )
        self.dtype = network.dtype
        for block in (b for b in network.modules() if hasattr(b, "attn1")):
            block.attn1 = torch.nn.ModuleDict({"to_qkv": torch.nn.Linear(4, 12), "to_out": torch.nn.Identity()})


@every_method
@pytest.mark.parametrize("as_patch", [False, True])
def test_a_network_of_another_pack_is_refused_by_name(patch, as_patch):
    """ComfyUI-nunchaku#680: its SDXL has a network of its own with fused attention; nothing of ours would reach it."""
    model = build(SDXL)
    network = NunchakuSDXLUNetModel(model.model.diffusion_model)
    if as_patch:
        model.add_object_patch("diffusion_model", network)
    else:
        model.model.diffusion_model = network
    with pytest.raises(ValueError, match="^FreeScale .* › model = '.*SDXL': its network is NunchakuSDXLUNetModel, ") as caught:
        patch(model)
    assert "nunchaku's quantised models" in str(caught.value) and "fp8 or GGUF" in str(caught.value)
    assert "not a U-Net" not in str(caught.value)
