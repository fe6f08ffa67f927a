"""Restrained Dilation on a real MODEL, beside the host's own layers with that dilation."""

import logging

import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from families import with_dilation as dilation
from freescale.nodes.host.seam import convolution
from patching import LARGE, NATIVE, OUTPUT


@pytest.mark.parametrize("preset", ["FreeScale", "FreeScale + up blocks", "ScaleCrafter"])
@pytest.mark.parametrize("factor", [0, 3])
def test_dilation_equals_the_hosts_layers_with_that_dilation(model, run, preset, factor):
    """The reference sets `dilation` and `padding` of the layers themselves, through the host's object patches."""
    names = {
        "input": [
            "input_blocks.6.0.op",
            *(f"input_blocks.{i}.0.{part}" for i in (7, 8) for part in ("in_layers.2", "out_layers.3")),
        ],
        "middle": [f"middle_block.{i}.{part}" for i in (0, 2) for part in ("in_layers.2", "out_layers.3")],
        "up": [f"output_blocks.{i}.0.{part}" for i in range(3) for part in ("in_layers.2", "out_layers.3")],
    }
    chosen = {
        "FreeScale": ("input", "middle"),
        "FreeScale + up blocks": ("input", "middle", "up"),
        "ScaleCrafter": ("middle", "up"),
    }[preset]
    layers = [name for section in chosen for name in names[section]] + (
        ["output_blocks.2.2.conv"] if preset == "ScaleCrafter" else []
    )
    reference = model.clone()
    for name in layers:
        for attribute in ("dilation", "padding"):
            reference.add_object_patch(f"diffusion_model.{name}.{attribute}", (factor or 2,) * 2)
    patched = dilation(model, preset=preset, factor=float(factor), end_percent=1.0)
    assert torch.allclose(run(patched, LARGE), run(reference, LARGE), rtol=0, atol=1e-5)


def test_dilation_applies_exactly_while_sigma_is_high(model, run):
    """35 of the 50 ddim_uniform steps, counted in the running model: the layer's own forward runs in the last 15 only."""
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "ddim_uniform", 50)
    counted, plain, running = model.clone(), [], []

    def note_sigma(executor, *args, **kwargs):
        running.append(float(args[5]["sigmas"][0]))
        return executor(*args, **kwargs)

    before = counted.get_model_object(OUTPUT + "._conv_forward")
    counted.add_object_patch(OUTPUT + "._conv_forward", lambda x, w, b: plain.append(running[-1]) or before(x, w, b))
    counted.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note_sigma)
    run(dilation(counted), (20, 20), sigmas=sigmas, cfg=1.0)
    assert running == sigmas[:-1].tolist()
    assert plain == running[35:]
    assert min(set(running) - set(plain)) >= sampling.percent_to_sigma(0.7) > max(plain)
    for end_percent, number in ((0.0, 5), (1.0, 0)):
        plain.clear()
        run(dilation(counted, end_percent=end_percent), (20, 20), sigmas=sigmas[::10], cfg=1.0)
        assert len(plain) == number


def test_chains_an_existing_convolution_patch_where_it_is_inactive(model, run, caplog):
    def doubled(m):
        patched = m.clone()
        path = OUTPUT + "._conv_forward"
        before = patched.get_model_object(path)
        patched.add_object_patch(path, lambda x, w, b: 2 * before(x, w, b))
        return patched

    native = run(doubled(model), NATIVE)
    assert not torch.equal(native, run(model, NATIVE))
    assert torch.equal(run(dilation(doubled(model)), NATIVE), native)
    assert torch.equal(run(doubled(dilation(model)), NATIVE), native)
    always = {"end_percent": 1.0}
    convolution._said.clear()
    run(model, NATIVE)  # the host takes the patch back, and leaves the layer's own method on it
    with caplog.at_level(logging.WARNING):
        run(dilation(model, **always), LARGE)
    assert not caplog.messages
    dilated = run(dilation(model, **always), LARGE)  # a dilated layer is ours, whichever node comes first
    with caplog.at_level(logging.WARNING):
        assert torch.equal(run(dilation(doubled(model), **always), LARGE), dilated)
        assert torch.equal(run(doubled(dilation(model, **always)), LARGE), dilated)
    [text] = caplog.messages  # once, not at every call
    assert text.startswith("FreeScale Restrained Dilation: another node changes middle_block.0.in_layers.2; that has no effect")
