"""ScaleCrafter on a real MODEL, beside the host's own layers with other dilations."""

import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from patching import HUGE, LARGE
from rival_models import MIDDLE, UNET, assert_close, at_steps, draw, graph, residual, scalecrafter

UP0 = [*residual("output", 0, 1, 2), "output_blocks.2.2.conv"]


def redilated(model, factors):
    """The reference: the host's own layers with another dilation and padding."""
    reference = model.clone()
    for name, factor in factors.items():
        for attribute in ("dilation", "padding"):
            reference.add_object_patch(f"{UNET}{name}.{attribute}", (factor, factor))
    return reference


def test_scalecrafter_at_2x_is_the_hosts_layers_dilated_by_2(model, run):
    reference = redilated(model, dict.fromkeys(MIDDLE + UP0, 2))
    sigmas = at_steps(model, 0, 20, 29)
    assert torch.allclose(run(scalecrafter(model), LARGE, sigmas=sigmas), run(reference, LARGE, sigmas=sigmas), rtol=0, atol=1e-5)
    late = at_steps(model, 30, 40)  # τ = 30
    assert torch.equal(run(scalecrafter(model), LARGE, sigmas=late), run(model, LARGE, sigmas=late))


def test_scalecrafter_at_4x_is_progressive_and_damped(model, run):
    """At step 9 of τ = 35: ⌈4 · 26/35⌉ = 3 in the deepest level, middle and up 0, ⌈3 · 26/35⌉ = 3 in up 1, 2 in up 2."""
    up1, up2 = [*residual("output", 3, 4, 5), "output_blocks.5.2.conv"], residual("output", 6, 7, 8)
    deep = residual("input", 7, 8) + MIDDLE + UP0
    strong = redilated(model, {**dict.fromkeys(deep + up1, 3), **dict.fromkeys(up2, 2)})
    mild = redilated(model, dict.fromkeys(MIDDLE + UP0, 2))
    x, g = torch.randn(1, 4, *HUGE, generator=torch.Generator().manual_seed(1)), 3.0

    def predicted(patched, cfg):
        out = {}

        def sampler(inner, x_, sigmas, extra_args=None, **_):
            out["x0"] = inner(x_, sigmas[:1], **extra_args)
            return x_

        run(patched, HUGE, sampler=comfy.samplers.KSAMPLER(sampler), sigmas=at_steps(model, 9), cfg=cfg, noise=x)
        return out["x0"]

    text, unprompted = predicted(strong, 1.0), predicted(strong, 0.0)
    damped = predicted(mild, 0.0)
    assert_close(predicted(scalecrafter(model), g), damped + g * (text - unprompted))
    assert_close(predicted(scalecrafter(model, noise_damping=False), g), unprompted + g * (text - unprompted))
    assert_close(predicted(scalecrafter(model), 1.0), text)  # without guidance nothing is damped
    assert not torch.allclose(damped, unprompted, atol=1e-3)


def test_noise_damping_costs_one_call_while_it_lasts(model, run):
    batches = []

    def note(executor, x, *args, **kwargs):
        batches.append(x.shape[0])
        return executor(x, *args, **kwargs)

    patched = scalecrafter(model)
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note)
    run(patched, HUGE, sigmas=at_steps(model, 5, 34, 35))
    assert batches == [2, 1, 2, 1, 2]
    batches.clear()
    run(patched, LARGE, sigmas=at_steps(model, 5))
    assert batches == [2]


def test_scalecrafter_on_sd15():
    """At 2× in all levels but the finest, samplers included."""
    g = graph("SD 1.5")
    layers = residual("input", 4, 5, 7, 8, 10, 11) + ["input_blocks.6.0.op", "input_blocks.9.0.op"] + MIDDLE
    layers += residual("output", *range(9)) + ["output_blocks.2.1.conv", "output_blocks.5.2.conv", "output_blocks.8.2.conv"]
    patched, reference = scalecrafter(g.model), redilated(g.model, dict.fromkeys(layers, 2))
    sigmas = at_steps(g.model, 0, 29)
    assert torch.allclose(draw(patched, g, LARGE, sigmas), draw(reference, g, LARGE, sigmas), rtol=0, atol=1e-5)
