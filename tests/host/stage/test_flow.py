"""The cascade on flow-matching transformers: the host's own noise, t = 1000 σ, every sampler, latents of a frame."""

import comfy.samplers
import comfy.supported_models as hosts
import dits
import families
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_model_advanced import ModelSamplingAuraFlow, ModelSamplingFlux, ModelSamplingSD3
from dits import KINDS
from families import host_node, random
from freescale.nodes.cascade.cascade import SelfCascadeUpscale
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.blend import BlendSampler
from freescale.nodes.host.stage.plan import plan_sigmas
from freescale.nodes.host.stage.samplers import MULTI_STEP, ONE_STEP
from staging import SETTINGS, stage

FLUX = KINDS["FLUX.1"]
EXACT = tuple(name for name in (*ONE_STEP, *MULTI_STEP, "ddim") if name in comfy.samplers.KSampler.SAMPLERS)
SIGMAS = torch.tensor([0.75, 0.6, 0.4, 0.2, 0.05, 0.0])
NEVER = 1e9  # as detail: c = (< 1)^1e9 = 0


@pytest.fixture(scope="module")
def flux():
    return dits.build(FLUX)


@pytest.fixture(scope="module")
def draw():
    """draw(model, sampler, …) → latent, through the host's own function."""

    def sample(model, sampler, kind=FLUX, sigmas=SIGMAS, side=128, noise=None, **options):
        z, words = dits.latent(kind, side, side), dits.prompt(kind)
        noise = random(*z.shape, seed=3) if noise is None else noise
        return comfy.sample.sample_custom(
            model, noise, 2.0, sampler, sigmas, words, words, z, seed=5, disable_pbar=True, **options
        )

    return sample


def blended(name, detail, **more):
    return BlendSampler(comfy.samplers.sampler_object(name), detail, **more)


@pytest.mark.parametrize("name", EXACT)
def test_without_a_blend_it_is_the_hosts_sampler_bit_for_bit(flux, draw, name):
    assert torch.equal(draw(flux, blended(name, NEVER)), draw(flux, comfy.samplers.sampler_object(name)))


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "dpmpp_sde", "euler_ancestral", "res_multistep"])
def test_held_fully_every_step_starts_from_the_hosts_own_noised_reference(flux, draw, name):
    """α = 0 is c ≡ 1: what the network is given before the last step is noise_scaling(σ, ε, z)."""
    given, model = [], flux.clone()

    def note(executor, x, timestep, *args, **kwargs):
        given.append((float(timestep[0]), x.clone()))
        return executor(x, timestep, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "test", note)
    noise = random(*dits.latent(FLUX, 128, 128).shape, seed=4)
    draw(model, blended(name, 0.0), noise=noise)
    z = model.get_model_object("latent_format").process_in(dits.latent(FLUX, 128, 128))
    for sigma in SIGMAS[:-1]:
        reference = model.get_model_object("model_sampling").noise_scaling(sigma, noise, z)
        assert any(abs(s - float(sigma)) < 1e-5 and torch.allclose(x, reference, atol=1e-5) for s, x in given)


def test_time_is_a_thousand_sigma_whatever_shift_made_it(flux, draw):
    """The same levels give the same picture: c is read from σ, never from the schedule's spacing."""
    shifted = [
        flux,
        host_node(ModelSamplingFlux, flux, 2.0, 0.5, 1024, 1024)[0],
        host_node(ModelSamplingSD3, flux, 7.0)[0],
        host_node(ModelSamplingAuraFlow, flux, 1.7)[0],
    ]
    assert all(family_of(model).noise.timestep(0.3) == pytest.approx(300) for model in shifted)
    first, *others = (draw(model, blended("euler", 2.0)) for model in (shifted[0], shifted[1]))
    assert all(torch.equal(other, first) for other in others)


@pytest.mark.parametrize("shift", [1.0, 3.0, 8.0])
def test_a_stage_starts_at_the_first_level_within_denoise(flux, shift):
    model = host_node(ModelSamplingSD3, flux, shift)[0]
    sigmas = plan_sigmas("node", model, stage(256, 256, steps=20, scheduler="simple", denoise=0.75))
    every = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 20)
    assert torch.equal(sigmas, every[every <= 0.7505]) and float(sigmas[0]) <= 0.7505


@pytest.mark.parametrize("resize_in", ["pixels", "latent"])
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.cell == 8 and kind.frames != (3,)])
def test_a_cascade_draws_every_kind(vae_of, name, resize_in):
    """Scale Fusion and dilation in front, as in every template; the latent goes on into a second cascade."""
    kind = KINDS[name]
    model, words, vae = dits.fusion(dits.build(kind), preset="Fast"), dits.prompt(kind), vae_of(kind)
    settings = {**SETTINGS, "scheduler": "simple", "denoise": 0.75, "steps": 3, "resize_in": resize_in}
    start = {"samples": dits.latent(kind, 128, 96, batch=2)}
    run = dict(model=model, positive=words, negative=words, vae=vae, **settings)
    picture, latent, pictures = SelfCascadeUpscale.execute(**run, stages="1.5x, 2x", latent_image=start).args
    assert [tuple(p.shape[1:3]) for p in pictures] == [(192, 144), (384, 288)] and torch.isfinite(latent["samples"]).all()
    again = SelfCascadeUpscale.execute(**run, stages="1.5x, 2x", latent_image=start).args
    assert torch.equal(again[1]["samples"], latent["samples"])
    tiled = SelfCascadeUpscale.execute(**{**run, "vae_tiling": "always"}, stages="1.5x", image=picture[:, :128, :96]).args
    assert tiled[0].shape == (2, 192, 144, 3)


@pytest.mark.parametrize("drop_frame", [False, True])
def test_latents_of_one_frame(draw, vae_of, drop_frame):
    """Qwen-Image: nodes that make empty latents may leave the frame out; a film of more frames is refused in words."""
    kind = KINDS["Qwen-Image"]
    model, z = dits.build(kind), dits.latent(kind, 128, 128)
    family = family_of(model)
    assert family.latent_shape == ("batch", 16, 1, "height", "width")
    assert family.as_latent(z[:, :, 0] if drop_frame else z).shape == z.shape
    detail_map = torch.full((1, 64, 64), 2.0)
    mapped, scalar = (draw(model, s, kind) for s in (blended("euler", 1.0, detail_map=detail_map), blended("euler", 2.0)))
    assert mapped.ndim == 5 and (mapped - scalar).abs().max() <= 1e-4 * scalar.abs().max()
    words = dits.prompt(kind)
    film = {"samples": torch.zeros(1, 16, 3, 16, 16)}
    with pytest.raises(ValueError, match=r"latent_image = \[1, 16, 3, 16, 16\].*\[batch, 16, 1, height, width\]"):
        SelfCascadeUpscale.execute(
            model=model, positive=words, negative=words, vae=vae_of(kind), stages="2x", **SETTINGS, latent_image=film
        )


def test_a_transformer_without_a_known_layout_has_the_cascade_and_is_told_that_scale_fusion_rests(caplog):
    config = dict(
        input_size=None, patch_size=2, in_channels=16, depth=1, num_patches=64, adm_in_channels=16, pos_embed_max_size=8,
        pos_embed_scaling_factor=None, context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 64}},
    )  # fmt: skip
    model = families.patcher(families.configured(hosts.SD3, config, native=64).get_model({}, ""))
    assert "Scale Fusion rests" not in caplog.text
    dits.fusion(model)
    assert "FreeScale Scale Fusion: the attention of SD3 is not known to it, so Scale Fusion rests." in caplog.text
    with pytest.raises(ValueError, match="stages = '192x192'.*places for 128 px a side"):
        plan_sigmas("node", model, stage(192, 192))
    assert len(plan_sigmas("node", model, stage(128, 128))) > 1
