"""What a MODEL is to the pack: one native size for all its patches, and layers that have the same names whatever is injected."""

import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import pytest
import torch
from families import FAMILIES, build, with_dilation, with_scale_fusion
from freescale.nodes.host.family import family_of

LARGE, NATIVE, WIDE = (32, 32), (16, 16), (20, 40)  # latents; the model's native size is 16 × 16


@pytest.mark.parametrize("size", [LARGE, NATIVE, WIDE, (24, 16), (18, 18)])
def test_a_native_size_means_the_same_typed_or_detected(model, run, size):
    typed, detected = with_scale_fusion(model, native_size=128), with_scale_fusion(model)
    assert torch.equal(run(typed, size, steps=1), run(detected, size, steps=1))


def test_the_first_model_is_not_told(model):
    with_scale_fusion(model, native_size=64)
    assert family_of(model).native == (128, 128)


class ReResBlock(openaimodel.TimestepBlock):
    """A pack's own residual block, no subclass of the host's, whose modules it takes over."""

    forward, _forward = openaimodel.ResBlock.forward, openaimodel.ResBlock._forward


@pytest.mark.parametrize("patch", [with_dilation, with_scale_fusion], ids=["dilation", "Scale Fusion"])
def test_layers_are_known_by_what_they_have(run, patch):
    """Another pack gives the host's modules a class of its own: before our node, or after it."""
    model = build(FAMILIES["SDXL"])
    patched = patch(model)
    expected = run(patched, LARGE)
    for module in model.model.diffusion_model.modules():
        if isinstance(module, openaimodel.ResBlock):
            module.__class__ = ReResBlock
    assert torch.equal(run(patched, LARGE), expected)
    assert torch.equal(run(patch(model), LARGE), expected)


@pytest.mark.parametrize("patch", [with_dilation, with_scale_fusion], ids=["dilation", "Scale Fusion"])
def test_a_model_is_refused_when_it_is_patched_and_never_while_it_runs(model, run, patch):
    """A later node may change the sampling, or put the network into something: at the native size that is none of our business."""

    class Halved(type(model.get_model_object("model_sampling"))):
        def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
            return sigma * noise + latent_image / 4

    def halved(m):
        m = m.clone()
        m.add_object_patch("model_sampling", Halved(model.model.model_config))
        return m

    with pytest.raises(ValueError, match="Halved.*its noise is neither"):
        patch(halved(model))
    assert torch.equal(run(halved(patch(model)), NATIVE), run(halved(model), NATIVE))

    class Inside(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.inner, self.dtype = network, network.dtype

        def forward(self, *args, **kwargs):
            return self.inner(*args, **kwargs)

    expected = run(model, NATIVE)
    wrapped = patch(model)
    wrapped.add_object_patch("diffusion_model", Inside(model.model.diffusion_model))
    assert torch.equal(run(wrapped, NATIVE), expected)
