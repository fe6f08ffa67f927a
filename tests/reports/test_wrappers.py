"""Samplers that other nodes wrap, in both orders, and samplers that only look like the host's."""

import comfy.samplers
import pytest
import torch
from comfy.samplers import KSAMPLER
from comfy_extras.nodes_lumina2 import RenormCFG
from families import host_node
from freescale.nodes.cascade.blend_sampler import FreeScaleBlendSampler
from neighbour import lying

SIZE = (8, 8)
SIGMAS = torch.tensor([6.0, 3.0, 1.4, 0.6, 0.2, 0.0])
NAMES = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_sde", "ddim", "dpm_adaptive"]


def blended(sampler, detail=2.0, detail_map=None):
    return FreeScaleBlendSampler.execute(sampler, detail, detail_map).args[0]


def host(name):
    return comfy.samplers.sampler_object(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrapper_inside_the_blend_or_around_it(sketch, run, name):
    """Impact-Pack#957, Detail Daemon around a blend: "the noise is switched off", which was false; inside of it: "not defined"."""
    inside, around = (
        run(sketch, SIZE, sampler=s, sigmas=SIGMAS) for s in (blended(lying(host(name))), lying(blended(host(name))))
    )
    assert torch.isfinite(inside).all() and (inside - around).abs().max() <= 2e-5 * inside.abs().max()
    for other in (blended(host(name)), lying(host(name))):  # neither is lost
        assert not torch.allclose(inside, run(sketch, SIZE, sampler=other, sigmas=SIGMAS), rtol=1e-2)


def test_a_wrapper_that_changes_nothing_leaves_every_bit(sketch, run):
    expected = run(sketch, SIZE, sampler=blended(host("euler")), sigmas=SIGMAS)
    assert torch.equal(run(sketch, SIZE, sampler=blended(lying(host("euler"), 1.0)), sigmas=SIGMAS), expected)
    around = run(sketch, SIZE, sampler=lying(blended(host("euler")), 1.0), sigmas=SIGMAS)
    assert (around - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_two_wrappers_a_map_and_a_mask(sketch, run):
    """As on a face that is drawn again: a noise mask, a map of detail, Lying Sigma within Detail Daemon."""
    mask, detail_map = torch.zeros(1, 1, *SIZE), torch.linspace(0, 3, 64).reshape(1, 8, 8)
    mask[..., :4] = 1
    orders = [
        blended(lying(lying(host("dpmpp_2m"), 0.95)), 2.0, detail_map),
        lying(blended(lying(host("dpmpp_2m"), 0.95), 2.0, detail_map)),
        lying(lying(blended(host("dpmpp_2m"), 2.0, detail_map), 0.95)),
    ]
    first, *others = (run(sketch, SIZE, batch=2, sampler=sampler, sigmas=SIGMAS, noise_mask=mask) for sampler in orders)
    assert all((other - first).abs().max() <= 2e-5 * first.abs().max() for other in others)


def test_asking_for_the_reference_does_not_run_the_network(sketch, run):
    calls, model = [], sketch.clone()
    model.set_model_unet_function_wrapper(
        lambda apply, args: calls.append(1) or apply(args["input"], args["timestep"], **args["c"])
    )
    for sampler in (blended(host("euler")), lying(blended(host("euler")))):
        calls.clear()
        run(model, SIZE, sampler=sampler, sigmas=SIGMAS)
        assert len(calls) == len(SIGMAS) - 1


def test_noise_that_is_really_off_is_said_in_both_orders(sketch, run):
    for sampler in (blended(host("euler")), lying(blended(host("euler"))), blended(lying(host("euler")))):
        with pytest.raises(ValueError, match="the noise is switched off"):
            run(sketch, SIZE, sampler=sampler, sigmas=SIGMAS, noise=torch.zeros(1, 4, *SIZE))


def test_a_wrapper_that_keeps_the_model_to_itself_is_named(sketch, run):
    def deaf_sampler(model, x, sigmas, *, inner, **kwargs):
        def deaf(x, sigma, **_):
            return x

        deaf.inner_model = model.inner_model
        return inner.sampler_function(deaf, x, sigmas, **kwargs)

    with pytest.raises(ValueError, match="deaf.*Wire it before FreeScale Blend Sampler"):
        run(sketch, SIZE, sampler=KSAMPLER(deaf_sampler, {"inner": blended(host("euler"))}), sigmas=SIGMAS)


def test_a_guidance_that_divides_by_what_the_network_says(sketch, run):
    """RenormCFG divides by the size of the unguided answer, which is not to be nothing while the reference is asked for."""
    model = host_node(RenormCFG, sketch, 100.0, 1.0)[0]
    inside, around = (
        run(model, SIZE, sampler=s, sigmas=SIGMAS) for s in (blended(lying(host("euler"))), lying(blended(host("euler"))))
    )
    assert torch.isfinite(around).all() and (inside - around).abs().max() <= 2e-5 * inside.abs().max()


def test_a_model_that_inpaints_without_noise_is_not_asked(sketch, run, monkeypatch):
    """Wan 2.2 5B and LTXV leave the reference as it is where nothing is drawn: the noise is not in it."""
    clean = type("Clean", (type(sketch.model),), {"scale_latent_inpaint": lambda self, latent_image, **_: latent_image})
    monkeypatch.setattr(sketch.model, "__class__", clean)
    with pytest.raises(ValueError, match="Wire it before FreeScale Blend Sampler"):
        run(sketch, SIZE, sampler=lying(blended(host("euler"))), sigmas=SIGMAS)
    run(sketch, SIZE, sampler=blended(lying(host("euler"))), sigmas=SIGMAS)


def test_a_sampler_that_wraps_what_cannot_be_blended_is_refused_by_its_name():
    for sampler in (lying(host("uni_pc")), lying(lying(host("uni_pc")))):
        with pytest.raises(ValueError, match="FreeScale Blend Sampler › sampler = 'uni_pc'"):
            blended(sampler)
    with pytest.raises(ValueError, match="FreeScale Blend Sampler › sampler = 'BlendSampler'"):  # twice the blend
        blended(lying(blended(host("euler"))))


def test_a_sampler_is_known_by_what_it_is():
    """A foreign function of a host's name was taken for it, and a class's own way to sample was dropped."""

    def sample_euler(model, x, sigmas, **_):
        return x

    class OwnWay(KSAMPLER):
        def sample(self, *args, **kwargs):
            return super().sample(*args, **kwargs)

    wrapping = OwnWay(host("euler").sampler_function, {"inner": host("euler")})
    for sampler, name in (
        (KSAMPLER(sample_euler), "sample_euler"),
        (OwnWay(host("euler").sampler_function), "OwnWay"),
        (wrapping, "OwnWay"),
    ):
        with pytest.raises(ValueError, match=f"FreeScale Blend Sampler › sampler = '{name}'.* can be wired after"):
            blended(sampler)
    for name in comfy.samplers.KSampler.SAMPLERS:
        if not name.startswith(("uni_pc", "sa_solver")):
            assert blended(comfy.samplers.ksampler(name) if name != "ddim" else host(name))
