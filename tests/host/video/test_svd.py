"""Stable Video Diffusion: a cascade of its clips, on a model of its true structure."""

from functools import partial

import comfy.model_base
import comfy.samplers
import comfy.supported_models as hosts
import families
import pytest
import torch
from clips import FRAMES
from comfy_extras.nodes_video_model import VideoLinearCFGGuidance, VideoTriangleCFGGuidance
from families import FAMILIES, build, with_dilation, with_scale_fusion
from freescale.freescale_core.noise import SD_SIGMAS
from freescale.freescale_core.schedule import paper_step
from freescale.nodes.host import pictures
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.plan import plan_sigmas
from staging import stage, step

FAMILY = FAMILIES["Stable Video Diffusion"]


@pytest.fixture(scope="module")
def svd():
    """A MODEL that every test shares, native at 64 px."""
    return build(FAMILY, native=64)


@pytest.fixture(scope="module")
def clip(demo):
    """(positive, negative, latent) as SVD_img2vid_Conditioning makes them, of a picture of 64 px."""
    picture = pictures.resize_image(torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(1)), 64, 64).clamp(0, 1)
    first = demo[3].encode(picture)
    asked = {"motion_bucket_id": 127, "fps": 6, "augmentation_level": 0.0}
    prompt = families.random(1, 1, FAMILY.unet["context_dim"], seed=1)
    positive = [[prompt, {**asked, "concat_latent_image": first}]]
    negative = [[torch.zeros_like(prompt), {**asked, "concat_latent_image": torch.zeros_like(first)}]]
    return positive, negative, {"samples": families.random(FRAMES, 4, 8, 8)}


def listening(model):
    """(a clone, the conditioning pictures that its calls are given: first those of the prompt)."""
    heard, patched = [], model.clone()

    def note(executor, x, t, c_concat=None, *args, **kwargs):
        heard.append(c_concat)
        return executor(x, t, c_concat, *args, **kwargs)

    patched.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "test", note)
    return patched, heard


# ---------------------------------------------------------------- what it is


def test_native_is_its_own_format():
    """576 × 1024 px, either way round; a clip of that size is not enlarged."""
    family = family_of(build(FAMILY, native=None))
    assert family.native == (576, 1024) and family.enlarged(72, 128) is None and family.enlarged(128, 72) is None
    assert family.enlarged(144, 256).native == (576, 1024) and family.enlarged(256, 144).native == (1024, 576)


@pytest.mark.parametrize("name", ["SV3D_u", "SV3D_p"])
def test_models_of_its_kind_for_other_tasks_are_refused_by_name(name):
    base = getattr(comfy.model_base, name)(families.configured(hosts.SD15, families.V1), device="cpu")
    with pytest.raises(ValueError, match=f"node › model = '{name}': .*Stable Video Diffusion"):
        family_of(families.patcher(base), "node")


# ---------------------------------------------------------------- its noise


@pytest.mark.parametrize("scheduler", ["karras", "normal", "simple", "exponential"])
@pytest.mark.parametrize("denoise", [0.7, 0.4])
def test_denoise_is_the_noise_that_it_is_for_sd(svd, scheduler, denoise):
    """σ = 3.34 at most for 0.7, on a range of σ from 0.002 to 700 where a share of the steps would be anything."""
    full = comfy.samplers.calculate_sigmas(svd.get_model_object("model_sampling"), scheduler, 25)
    sigmas = plan_sigmas("node", svd, stage(128, 128, steps=25, scheduler=scheduler, denoise=denoise))
    limit = {0.7: 3.341, 0.4: 1.167}[denoise]
    assert torch.equal(sigmas, full[len(full) - len(sigmas) :])
    assert float(sigmas[0]) <= limit < float(full[len(full) - len(sigmas) - 1])


def test_the_methods_steps_are_sds(svd):
    """A σ has the timestep, and a percent the σ, that they have for SD: τ = 35 ends where end_percent 0.7 does."""
    noise, sd = family_of(svd).noise, family_of(build(FAMILIES["SD 1.5"])).noise
    for sigma in (0.05, 0.5, 1.0739, 3.0, 14.0):
        assert noise.timestep(sigma) == pytest.approx(sd.timestep(sigma), abs=1e-3)
    assert (noise.timestep(700.0), noise.timestep(0.002), noise.timestep(0.0)) == (999, 0, 0)
    for percent in (0.0, 0.2, 0.7, 1.0):
        assert min(noise.sigma(percent), 1e6) == pytest.approx(min(sd.sigma(percent), 1e6), rel=1e-3)
    for sigma in SD_SIGMAS[1:999:20].tolist():
        assert (paper_step(noise.timestep(sigma)) < 35) == (sigma > noise.sigma(0.7))


# ---------------------------------------------------------------- its first frame


@pytest.mark.parametrize("resize_in", ["pixels", "latent"])
def test_each_stage_is_given_the_first_frame_enlarged_as_a_picture(svd, clip, demo, resize_in):
    """Decoded, enlarged and encoded from the prompt's own in every stage, where the host would stretch its latent."""
    (positive, negative, latent), vae = clip, demo[3]
    first = positive[0][1]["concat_latent_image"]
    model, heard = listening(with_scale_fusion(with_dilation(svd)))
    for side in (96, 128):
        heard.clear()
        _, latent = step((model, positive, negative, vae), side, side, latent, resize_in=resize_in, scheduler="karras", steps=8)
        enlarged = vae.encode(pictures.resize_image(vae.decode(first), side, side))
        assert latent["samples"].shape == (FRAMES, 4, side // 8, side // 8) and torch.isfinite(latent["samples"]).all()
        given = heard[0].reshape(2, FRAMES, 4, side // 8, side // 8)
        positives = [part for part in given if part.any()]
        assert len(positives) == 1  # the negative prompt's is empty, and stays so
        assert torch.allclose(positives[0], enlarged.expand(FRAMES, -1, -1, -1), atol=1e-5)
        stretched = torch.nn.functional.interpolate(first, enlarged.shape[-2:], mode="bilinear")
        assert (enlarged - stretched).abs().mean() > 0.05
    assert positive[0][1]["concat_latent_image"] is first  # not written into


def test_a_first_frame_of_the_stages_size_is_left_as_it_is(svd, clip, demo):
    positive, negative, latent = clip
    model, heard = listening(svd)
    step((model, positive, negative, demo[3]), 64, 64, latent, scheduler="karras", steps=8)
    first = positive[0][1]["concat_latent_image"]
    assert any(torch.equal(part, first[0]) for part in heard[0])


# ---------------------------------------------------------------- its guidance


@pytest.mark.parametrize("guidance", [VideoLinearCFGGuidance, VideoTriangleCFGGuidance])
def test_guidance_that_grows_over_the_frames_stays_the_hosts(svd, clip, demo, guidance):
    """Its function gets all frames of the clip in their order, and what it gives is what is sampled."""
    *prompts, latent = clip
    guided = partial(families.host_node, guidance)
    scales = []

    def first_frame(model):
        patched = guided(model, 1.0)[0]
        own = patched.model_options["sampler_cfg_function"]

        def function(args):
            out = own(args)
            scales.append(((out - args["uncond"]) / (args["cond"] - args["uncond"])).flatten(1).nanmedian(1).values)
            return out

        patched.set_model_sampler_cfg_function(function)
        return patched

    for wire in (lambda m: first_frame(with_scale_fusion(m)), lambda m: with_scale_fusion(first_frame(m))):
        scales.clear()
        step((wire(svd), *prompts, demo[3]), 96, 96, latent, scheduler="karras", steps=8, cfg=2.5)
        linear = torch.linspace(1.0, 2.5, FRAMES)
        expected = linear if guidance is VideoLinearCFGGuidance else 1 + 1.5 * torch.tensor([0.0, 2 / 3, 2 / 3, 0.0])
        assert scales and all(torch.allclose(scale, expected, atol=1e-2) for scale in scales)
