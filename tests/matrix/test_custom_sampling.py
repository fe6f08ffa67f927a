"""The blend in ComfyUI's own sampling nodes: guiders, split schedules, noise switched off."""

import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from families import FAMILIES, conditioning, host_node, with_dilation, with_scale_fusion
from freescale.freescale_core.schedule import stage_sigmas
from freescale.nodes.cascade.blend_sampler import FreeScaleBlendSampler
from freescale.nodes.host import pictures
from freescale.nodes.host.family import family_of

TABLE = "Custom sampling"


@pytest.fixture
def wired(graph):
    """(graph, patched MODEL, the enlarged latent, a schedule that restarts at 0.7)."""
    g = graph(FAMILIES["SDXL"])
    model = with_dilation(with_scale_fusion(g.model))
    latent = {"samples": pictures.resize_latent(g.latent["samples"], 32, 32)}
    sampling = model.get_model_object("model_sampling")
    full = comfy.samplers.calculate_sigmas(sampling, "ddim_uniform", 4)
    return g, model, latent, stage_sigmas(full, family_of(model).noise.timestep, 0.7)


def sample(noise, guider, sampler, sigmas, latent):
    return host_node(custom.SamplerCustomAdvanced, noise, guider, sampler, sigmas, latent)[0]["samples"]


def random_noise(seed=3):
    return host_node(custom.RandomNoise, seed)[0]


def blend(name="euler", detail=2.0):
    return FreeScaleBlendSampler.execute(comfy.samplers.sampler_object(name), detail).args[0]


GUIDERS = {
    "CFGGuider": lambda g, model: host_node(custom.CFGGuider, model, g.positive, g.negative, 2.0),
    "BasicGuider": lambda g, model: host_node(custom.BasicGuider, model, g.positive),
    "DualCFGGuider": lambda g, model: host_node(
        custom.DualCFGGuider, model, g.positive, conditioning(g.family, 8), g.negative, 2.0, 1.5, "regular"
    ),
}


@pytest.mark.parametrize("name", GUIDERS)
def test_guiders(wired, publish, name):
    g, model, latent, sigmas = wired
    guider = GUIDERS[name](g, model)[0]
    one, two = (sample(random_noise(), guider, blend(), sigmas, latent) for _ in range(2))
    assert torch.isfinite(one).all() and torch.equal(one, two)
    assert not torch.allclose(one, sample(random_noise(), GUIDERS[name](g, g.model)[0], blend(), sigmas, latent), atol=1e-3)
    assert not torch.allclose(
        one, sample(random_noise(), guider, comfy.samplers.sampler_object("euler"), sigmas, latent), atol=1e-3
    )
    publish(TABLE, name, "Blend", "✓")


def test_the_cascade_is_what_its_parts_make_by_hand(wired, draw, publish):
    g, model, latent, sigmas = wired
    by_hand = sample(random_noise(), GUIDERS["CFGGuider"](g, model)[0], blend(), sigmas, latent)
    pinned = [[[tokens, {"width": 128, "height": 128, **more}] for tokens, more in prompt] for prompt in (g.positive, g.negative)]
    same = host_node(custom.CFGGuider, model, *pinned, 2.0)[0]
    graph = type(g)(g.family, model, g.positive, g.negative, g.latent)
    assert torch.equal(draw(graph, steps=4), sample(random_noise(), same, blend(), sigmas, latent))
    assert not torch.equal(by_hand, draw(graph, steps=4))  # the size conditioning is the cascade's own care
    publish(TABLE, "SamplerCustomAdvanced, by hand", "Blend", "✓", note="the cascade's bits, once the prompts' size is native")


def test_split_schedules(wired, publish):
    """The blend in the first part, an ordinary sampler in the rest: nearly the whole, as the blend fades anyway."""
    g, model, latent, sigmas = wired
    guider = GUIDERS["CFGGuider"](g, model)[0]
    high, low = host_node(custom.SplitSigmas, sigmas, len(sigmas) - 2)
    whole = sample(random_noise(), guider, blend(), sigmas, latent)
    first = sample(random_noise(), guider, blend(), high, latent)
    quiet = host_node(custom.DisableNoise)[0]
    rest = sample(quiet, guider, comfy.samplers.sampler_object("euler"), low, {"samples": first})
    assert (rest - whole).abs().max() < 0.05 * whole.abs().max()
    with pytest.raises(ValueError, match="the noise is switched off.*SplitSigmas"):
        sample(quiet, guider, blend(), low, {"samples": first})
    publish(
        TABLE,
        "SplitSigmas",
        "Blend",
        "first part",
        note="the second has no noise of its own: it is refused there, with a message",
    )


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_2m_sde"])
def test_both_custom_samplers_agree(wired, publish, name):
    g, model, latent, sigmas = wired
    guider = GUIDERS["CFGGuider"](g, model)[0]
    custom_bits = sample(random_noise(), guider, blend(name), sigmas, latent)
    old_style = host_node(custom.SamplerCustom, model, True, 3, 2.0, g.positive, g.negative, blend(name), sigmas, latent)[0][
        "samples"
    ]
    assert torch.equal(custom_bits, old_style)
    publish(TABLE, "SamplerCustom", "Blend", "✓")
