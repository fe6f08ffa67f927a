"""Quantised U-Nets, as people load them to save memory: known by what their layers have, or refused by name."""

import comfy.ops
import pytest
import torch
from families import FAMILIES, build
from patching import LARGE, NATIVE, both, every_method
from quantised import Gguf, Nf4, quantised

SDXL = FAMILIES["SDXL"]


@pytest.mark.parametrize("operations", [Gguf, Nf4])
@every_method
def test_layers_that_turn_their_weights_into_floats_themselves(run, operations, patch):
    """ComfyUI-GGUF and the NF4 loaders: SDXL with another pack's Linear and Conv2d draws as with the host's."""
    small, rounded = quantised(SDXL, operations)
    expected = run(patch(rounded), LARGE)
    assert torch.allclose(run(patch(small), LARGE), expected, atol=1e-5 * float(expected.abs().max()))
    assert not torch.allclose(run(small, LARGE), expected, atol=1e-2)
    assert torch.equal(run(patch(small), NATIVE), run(small, NATIVE))


@pytest.mark.parametrize("operations", ["disable_weight_init", "manual_cast", "fp8_ops"])
def test_the_hosts_own_layers(run, operations):
    """ComfyUI's kinds of layers: as they are, converted at each call, and multiplied in fp8 where a GPU does it."""
    model = build(SDXL, operations=getattr(comfy.ops, operations))
    assert torch.equal(run(both(model), LARGE), run(both(build(SDXL)), LARGE))


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
