"""DemoFusion on a real MODEL, beside the plain model called once for each window and lattice."""

import itertools
from collections import Counter
from math import cos, pi

import comfy.sample
import comfy.samplers
import families
import pytest
import torch
import torch.nn.functional as F
from families import FAMILIES, controlnet
from freescale.freescale_core.rivals.demofusion import gaussian_blur, matched
from freescale.freescale_core.schedule import stage_sigmas
from freescale.freescale_core.windows import draw_key, jittered_views, windows_of
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.blend import BlendSampler
from patching import LARGE, NATIVE, ODD
from rival_models import assert_close, at_steps, controlled, demofusion, graph, predictions, sigma_at, watched

ALONE_SIZE = {"width": 256, "height": 256, "target_width": 256, "target_height": 256}  # what ComfyUI takes for LARGE


def alone(model, x, sigma, crop=(0, 0)):
    """x₀ of a native picture by the plain model with the first prompt, its crop set as CLIPTextEncodeSDXL does."""
    positive = families.conditioning(FAMILIES["SDXL"], 1, crop_h=crop[0], crop_w=crop[1], **ALONE_SIZE)
    out = {}

    def sampler(inner, noised, sigmas, extra_args=None, **_):
        out["x0"] = inner(x, sigmas[:1], **extra_args)
        return noised

    comfy.sample.sample_custom(
        model, torch.zeros_like(x), 1.0, comfy.samplers.KSAMPLER(sampler), torch.tensor([sigma, 0.0]), positive, positive,
        torch.zeros_like(x), seed=1, disable_pbar=True,
    )  # fmt: skip
    return out["x0"]


def test_demofusion_is_windows_and_lattices(model, run):
    """The reference calls the plain model once for each window and each lattice of what the sampler shows it."""
    c = 0.5 * (1 + cos(pi * (1000 - 681) / 1000))
    x, mixed = predictions(demofusion(model, seed=4), run, LARGE, 15)
    sigma = sigma_at(model, 15)
    plan = windows_of(LARGE, NATIVE)
    views = jittered_views(plan, draw_key(4, sigma, *LARGE, "demofusion", 0, 0))
    total, count = torch.zeros(1, 4, 36, 36), torch.zeros(36, 36)
    assert plan.jitter == (2, 2) and plan.count == 9
    for t, b, left, r in views.tolist():
        window = F.pad(x, (2, 2, 2, 2))[..., t:b, left:r]
        total[..., t:b, left:r] += alone(model, window, sigma, crop=(8 * t, 8 * left))
        count[t:b, left:r] += 1
    local = (total / count)[..., 2:-2, 2:-2]

    axis = torch.exp(-(torch.tensor([1.0, 0.0, 1.0]) ** 2) / (2 * (0.99 * c + 0.01) ** 2))
    kernel = torch.outer(axis, axis)[None, None] / axis.sum() ** 2
    blurred = F.conv2d(x.transpose(0, 1), kernel, padding=1).transpose(0, 1)
    blurred = (blurred - blurred.mean()) / blurred.std() * x.std() + x.mean()
    overall = torch.zeros_like(x)
    for a, b in itertools.product(range(2), repeat=2):
        overall[..., a::2, b::2] = alone(model, blurred[..., a::2, b::2], sigma)
    overall = x - (blurred - overall)  # x − σ ε
    assert_close(mixed, (1 - c) * local + c * overall)


def test_the_cascade_around_it_is_demofusions_own_loop(model, run):
    """Written as its code is: every window and lattice takes the scheduler's step by itself, and the steps' results are mixed.

    The cascade's part is the blend with `detail` 3 on the whole schedule, which `denoise` 1 leaves as it is.
    """
    model_sampling, latent_format = (model.get_model_object(name) for name in ("model_sampling", "latent_format"))
    sigmas = comfy.samplers.calculate_sigmas(model_sampling, "ddim_uniform", 4)
    timesteps = [751, 501, 251, 1]
    assert torch.equal(stage_sigmas(sigmas, family_of(model).noise.timestep, 1.0), sigmas)
    assert torch.equal(sigmas[:-1], model_sampling.sigmas[timesteps])
    noise = families.random(1, 4, *LARGE, seed=3)
    sampler = BlendSampler(comfy.samplers.sampler_object("euler"), 3.0)
    latents = run(demofusion(model, seed=4), LARGE, sampler=sampler, sigmas=sigmas, noise=noise, cfg=1.0)

    z = latent_format.process_in(torch.randn(1, 4, *LARGE, generator=torch.Generator().manual_seed(9)))  # what `run` starts from
    x, plan = z + sigmas[0] * noise, windows_of(LARGE, NATIVE)
    for t, sigma, following in zip(timesteps, sigmas.tolist(), sigmas[1:].tolist()):

        def stepped(sample, epsilon, sigma=sigma, following=following):
            return sample + (following - sigma) * epsilon

        cosine = 0.5 * (1 + cos(pi * (1000 - t) / 1000))
        x = x * (1 - cosine**3) + (z + sigma * noise) * cosine**3
        padded, total, count = F.pad(x, (2, 2, 2, 2)), torch.zeros(1, 4, 36, 36), torch.zeros(36, 36)
        for top, bottom, left, right in jittered_views(plan, draw_key(4, sigma, *LARGE, "demofusion", 0, 0)).tolist():
            view = padded[..., top:bottom, left:right]
            epsilon = (view - alone(model, view, sigma, crop=(8 * top, 8 * left))) / sigma
            total[..., top:bottom, left:right] += stepped(view, epsilon)
            count[top:bottom, left:right] += 1
        overall, blurred = torch.zeros_like(x), gaussian_blur(x, 2, 0.99 * cosine + 0.01)
        blurred = (blurred - blurred.mean()) / blurred.std() * x.std() + x.mean()
        for a, b in itertools.product(range(2), repeat=2):
            view = blurred[..., a::2, b::2]
            overall[..., a::2, b::2] = stepped(x[..., a::2, b::2], (view - alone(model, view, sigma)) / sigma)
        x = (1 - cosine) * (total / count)[..., 2:-2, 2:-2] + cosine * overall
    assert_close(latents, latent_format.process_out(x))


def test_demofusion_gives_the_u_net_native_pictures_with_their_place(model, run):
    patched, calls = watched(demofusion(model))
    run(patched, LARGE, steps=1, cfg=3.0)
    shapes = Counter()
    for shape, _ in calls:
        assert shape[1:] == (4, *NATIVE)
        shapes[shape[1:]] += shape[0]
    assert shapes == {(4, *NATIVE): 2 * (9 + 4)}  # cond and uncond: 9 windows and 4 lattices
    crops = {tuple(row[-1024:-512].tolist()) for _, y in calls for row in y}
    assert len(crops) > 2
    odd, calls = watched(demofusion(model))
    run(odd, ODD, steps=1)
    assert {shape[2:] for shape, _ in calls} == {(16, 16), (14, 10)}  # 40 × 28 padded to 42 × 30, S = 3


def test_a_stage_ends_with_the_bases_statistics(model, run):
    base = {"samples": 0.3 * torch.randn(1, 4, *NATIVE, generator=torch.Generator().manual_seed(3)) + 0.2}
    free, held = run(demofusion(model), LARGE, batch=2), run(demofusion(model, base=base), LARGE, batch=2)
    assert_close(held, matched(free, base["samples"].repeat(2, 1, 1, 1)))
    assert torch.equal(run(demofusion(model, base=base), NATIVE), run(model, NATIVE))
    with pytest.raises(ValueError, match="FreeScale Rival DemoFusion › base = "):
        demofusion(model, base={"samples": torch.zeros(1, 16, 8, 8)})


def test_what_a_mask_keeps_is_kept_by_the_bases_statistics_too(model):
    base = {"samples": 0.3 * torch.randn(1, 4, *NATIVE, generator=torch.Generator().manual_seed(3)) + 0.2}
    mask = torch.zeros(1, 1, *LARGE)
    mask[..., :16] = 1
    g, latent = graph("SDXL"), families.random(1, 4, *LARGE)
    drawn = comfy.sample.sample_custom(
        demofusion(model, base=base), families.random(1, 4, *LARGE, seed=3), 2.0, comfy.samplers.sampler_object("euler"),
        at_steps(model, 20), g.positive, g.negative, latent, noise_mask=mask, seed=1, disable_pbar=True,
    )  # fmt: skip
    assert_close(drawn[..., 16:], latent[..., 16:])
    assert (drawn - latent)[..., :16].abs().max() > 0.1


def test_demofusion_refuses_a_controlnet(model):
    with pytest.raises(ValueError, match="FreeScale Rival DemoFusion › model = 'with ControlNet': .* Remove the ControlNet"):
        controlled(demofusion(model), LARGE, at_steps(model, 10), controlnet)
    controlled(demofusion(model), NATIVE, at_steps(model, 10), controlnet)
