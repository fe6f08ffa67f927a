"""Where a stage starts: each scheduler cut by time, and what cannot be planned."""

import comfy.samplers
import pytest
import torch
from freescale.freescale_core.noise import timestep
from freescale.nodes.host.stage.plan import plan_sigmas
from staging import stage, table_of


@pytest.mark.parametrize("scheduler", comfy.samplers.KSampler.SCHEDULERS)
@pytest.mark.parametrize("denoise", [0.7, 0.5])
def test_every_scheduler_restarts_at_its_first_late_enough_point(model, scheduler, denoise):
    full = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, 50)
    sigmas = plan_sigmas("node", model, stage(256, 256, steps=50, scheduler=scheduler, denoise=denoise))
    first = len(full) - len(sigmas)
    assert torch.equal(sigmas, full[first:])
    limit = 1000 * denoise + 0.5
    assert timestep(float(full[first]), table_of(model)) <= limit < timestep(float(full[first - 1]), table_of(model))


@pytest.mark.parametrize(("scheduler", "by_index"), [("ddim_uniform", 681), ("karras", 722), ("beta", 765), ("exponential", 587)])
def test_restart_is_cut_by_time_not_by_index(model, scheduler, by_index):
    """SPEC §1.3's figures: what the 15th point of each schedule would have been."""
    full = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, 50)
    assert timestep(float(full[15]), table_of(model)) == pytest.approx(by_index, abs=1)
    sigmas = plan_sigmas("node", model, stage(256, 256, steps=50, scheduler=scheduler))
    assert (len(sigmas) == 36) == (scheduler == "ddim_uniform")


def test_turbo_restart(model):
    """euler_ancestral, sgm_uniform, 4 steps, denoise 0.5: t = 999, 749, 499, 249, of which the last two run."""
    sigmas = plan_sigmas(
        "node", model, stage(256, 256, steps=4, scheduler="sgm_uniform", sampler_name="euler_ancestral", denoise=0.5)
    )
    assert [timestep(float(sigma), table_of(model)) for sigma in sigmas[:-1]] == pytest.approx([499, 249], abs=1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"denoise": 0.0}, ["denoise = 0.0", "Raise denoise or steps"]),
        ({"sampler_name": "uni_pc"}, ["sampler_name = 'uni_pc'", "euler"]),
        ({"detail_map": torch.ones(1, 64, 128)}, ["detail_map = '128x64'", "2.00 times", "1.00 times"]),
    ],
)
def test_bad_stages_are_refused_before_anything_runs(model, changed, words):
    with pytest.raises(ValueError) as caught:
        plan_sigmas("FreeScale Cascade", model, stage(192, 192, **changed))
    assert all(word in str(caught.value) for word in ["FreeScale Cascade", *words])
