"""What a MODEL is to the pack: one native size for all its patches, and layers that have the same names whatever is injected."""

import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import pytest
import torch
from families import FAMILIES, build, with_dilation, with_scale_fusion
from freescale.nodes.host.family import family_of

LARGE, NATIVE, WIDE = (32, 32), (16, 16), (20, 40)  # latents; the model's native size is 16 × 16


def test_a_native_size_given_to_one_patch_holds_for_all(model, run):
    """Also where the other patch comes first: it is read when the model runs."""
    told = dict(native_size=64)
    everywhere = run(with_dilation(with_scale_fusion(model, **told), **told), NATIVE)
    assert torch.equal(run(with_dilation(with_scale_fusion(model, **told)), NATIVE), everywhere)
    assert torch.equal(run(with_dilation(with_scale_fusion(model), **told), NATIVE), everywhere)
    assert torch.equal(run(with_scale_fusion(with_dilation(model, **told)), NATIVE), everywhere)
    assert not torch.equal(run(with_scale_fusion(model, **told), NATIVE), everywhere)


@pytest.mark.parametrize("size", [LARGE, NATIVE, WIDE, (24, 16), (18, 18)])
def test_a_native_size_means_the_same_typed_or_detected(model, run, size):
    typed, detected = with_scale_fusion(model, native_size=128), with_scale_fusion(model)
    assert torch.equal(run(typed, size, steps=1), run(detected, size, steps=1))


def test_the_first_model_is_not_told(model):
    with_scale_fusion(model, native_size=64)
    assert family_of(model).native == (128, 128)


class Motion(torch.nn.Module):
    """Stands for another pack's layer: it looks like nothing that a U-Net is built of, and has such layers within."""

    def __init__(self, channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.inner = torch.nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x


def injected(model):
    """Motion modules after every layer of every block, in the middle one too, as AnimateDiff leaves them between runs."""
    network = model.model.diffusion_model
    for block in [*network.input_blocks, network.middle_block, *network.output_blocks]:
        for place in range(len(block), 0, -1):
            block.insert(place, Motion(4))
        block.insert(0, Motion(4))


@pytest.mark.parametrize("name", ["SDXL", "SD 1.5"])
def test_injected_layers_shift_no_names(name, run, prompts):
    family = FAMILIES[name]
    model = build(family)
    before = family_of(model)
    layers, convolutions = before.attention_layers(), list(before.convolutions())
    modules = before.convolutions()
    injected(model)
    after = family_of(model)
    assert after.attention_layers() == layers and list(after.convolutions()) == convolutions
    assert all(after.convolutions()[layer] is modules[layer] for layer in convolutions)
    assert len(after.feed_forwards()) == family.self_attentions


@pytest.mark.parametrize("preset", ["FreeScale", "FreeScale + up blocks", "ScaleCrafter"])
def test_patched_before_or_after_an_injection_the_picture_is_the_same(run, preset):
    model = build(FAMILIES["SDXL"])
    patched = with_dilation(with_scale_fusion(model), preset=preset)
    first = run(patched, LARGE)
    injected(model)
    assert torch.equal(run(patched, LARGE), first)
    assert torch.equal(run(with_dilation(with_scale_fusion(model), preset=preset), LARGE), first)


def test_what_a_block_is_built_of_is_known():
    """The types that the host's own U-Nets have in their blocks, but for the very first convolution."""
    for family in FAMILIES.values():
        network = build(family).model.diffusion_model
        blocks = [*network.input_blocks, network.middle_block or [], *network.output_blocks]
        kinds = {type(layer) for block in blocks for layer in block} - {type(network.input_blocks[0][0])}
        assert all(
            issubclass(kind, tuple(vars(openaimodel)[n] for n in ("ResBlock", "SpatialTransformer", "Downsample", "Upsample")))
            for kind in kinds
        )
