"""The blend on its way through a stage: the released loop's trajectory."""

import comfy.samplers
import oracle
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from freescale.nodes.host.stage.blend import BlendSampler
from freescale.nodes.host.stage.plan import plan_sigmas
from staging import stage, table_of


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_trajectory_equals_the_released_loop(sketch, run, alpha):
    """50 ddim_uniform steps at denoise 0.7: 35 guided calls, the blend before each, against C's loop on the same model."""
    alphas = 1 / (1 + table_of(sketch) ** 2)
    calls, patched = [], sketch.clone()

    def note(executor, x, timestep, *args, **kwargs):
        calls.append(float(timestep[0]))
        return executor(x, timestep, *args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "test", note)

    def released(inner, x, sigmas, extra_args=None, **_):
        def denoiser(x, sigma):
            return inner(x, torch.full((x.shape[0],), sigma), **extra_args)

        return oracle.cascade_stage(inner.latent_image, inner.noise, denoiser, alphas, alpha=alpha)

    sigmas = plan_sigmas("node", sketch, stage(64, 64, steps=50))
    expected = run(patched, (8, 8), sampler=comfy.samplers.KSAMPLER(released), sigmas=sigmas)
    released_calls = calls.copy()
    calls.clear()
    ours = run(patched, (8, 8), sampler=BlendSampler(comfy.samplers.sampler_object("euler"), alpha), sigmas=sigmas)
    assert len(calls) == len(released_calls) == 35
    assert calls == pytest.approx(released_calls, rel=1e-5) and calls[0] == pytest.approx(3.093, abs=5e-4)
    assert (ours - expected).abs().max() <= 1e-4 * expected.abs().max()
    plain = run(sketch, (8, 8), sampler=comfy.samplers.sampler_object("euler"), sigmas=sigmas)
    assert (plain - expected).abs().max() > 1e-2 * expected.abs().max()  # the blend is what made them agree
