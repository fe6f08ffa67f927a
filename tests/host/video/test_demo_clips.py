"""The demo model's clips: frames that share their noise and know of each other, and nothing of that in its pictures."""

import comfy.sample
import comfy.samplers
import pytest
import torch
from clips import draw
from families import random
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from freescale.nodes.host.temporal import mixed_noise

FRAMES = 3


def wired(network):
    return FreeScaleDemoModel.execute("yes", 0.58, "portrait", network).args


@pytest.fixture(scope="module")
def film():
    """MODEL, positive, negative, VAE."""
    return wired("video U-Net")


def test_the_sampler_is_given_noise_that_frames_share(film):
    """Also in a clone, and under a node that wraps the sampling once more; the U-Net's pictures keep theirs."""
    noise, latent, given = random(FRAMES, 4, 16, 16, seed=1), torch.zeros(FRAMES, 4, 16, 16), []

    def listen(model, x, sigmas, **options):
        given.append(x / sigmas[0])
        return x

    def sample(model):
        sampler = comfy.samplers.KSAMPLER(listen)
        comfy.sample.sample_custom(model, noise, 2.0, sampler, torch.tensor([3.0, 0.0]), *film[1:3], latent, disable_pbar=True)
        return given.pop()

    expected = mixed_noise(noise, FRAMES)
    assert sample(film[0]).std() == pytest.approx(float(noise.std()), rel=1e-5)
    expected *= noise.std() / expected.std()
    wrapped = film[0].clone()
    wrapped.add_wrapper_with_key("outer_sample", "another", lambda executor, *args, **options: executor(*args, **options))
    for model in (film[0], film[0].clone(), wrapped):
        assert torch.allclose(sample(model), expected, atol=1e-6)
    assert torch.allclose(sample(wired("U-Net")[0]), noise, atol=1e-6)


def test_noise_that_frames_share_already_grows_no_stronger(film):
    """As LatentBatchSeedBehavior makes it; none stays none."""
    [mix] = film[0].wrappers["outer_sample"]["FreeScale Demo Model"]
    same = random(1, 4, 16, 16, seed=1).expand(FRAMES, -1, -1, -1)
    assert torch.allclose(mix(lambda noise: noise, same), same, atol=1e-5)
    assert not mix(lambda noise: noise, torch.zeros(FRAMES, 4, 16, 16)).any()


def test_a_frame_depends_on_the_others(film):
    """Which frames are drawn together decides how, be their noise their own; the U-Net's pictures are drawn alone."""
    own = film[0].clone()
    own.remove_wrappers_with_key("outer_sample", "FreeScale Demo Model")
    for model, prompts, alike in ((own, film[1:3], False), (wired("U-Net")[0], film[1:3], True)):
        whole, part = (draw(model, prompts, (16, 16), frames, sigmas=(0.5, 0.0)) for frames in (range(FRAMES), range(FRAMES - 1)))
        assert torch.allclose(whole[:-1], part, atol=1e-5) == alike


def test_prompts_count_as_one_clip_each(film):
    """Both prompts of a step, in one call or two, are the same clip's; how many frames there are is the batch's own."""
    model, prompts = film[0], film[1:3]
    together = draw(model, prompts, (16, 16), range(FRAMES))
    apart = model.clone()
    apart.model_options["sampler_calc_cond_batch_function"] = lambda args: [
        comfy.samplers.calc_cond_batch(args["model"], [cond], args["input"], args["sigma"], args["model_options"])[0]
        for cond in args["conds"]
    ]
    assert torch.allclose(draw(apart, prompts, (16, 16), range(FRAMES)), together, atol=1e-4)
    assert not torch.allclose(draw(wired("U-Net")[0], prompts, (16, 16), range(FRAMES)), together, atol=1e-2)
