"""The rivals on real MODELs: what each does to the layers, where it acts, what it leaves alone and what it stands beside."""

import functools
import itertools
import logging
from collections import Counter
from math import cos, pi

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import comfy.samplers
import comfy.t2i_adapter.adapter
import families
import pytest
import torch
import torch.nn.functional as F
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_custom_sampler import Guider_DualCFG
from comfy_extras.nodes_freelunch import FreeU
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from families import FAMILIES, host_node
from freescale.freescale_core import fouriscale
from freescale.freescale_core.demofusion import gaussian_blur, matched
from freescale.freescale_core.geometry import jittered_views, windows_of
from freescale.freescale_core.schedule import stage_sigmas
from freescale.nodes.host import convolution as host_convolution
from freescale.nodes.host.attention import draw_key
from freescale.nodes.host.model import sigma_table
from freescale.nodes.host.sampling import BlendSampler
from freescale.nodes.rival_demofusion import FreeScaleRivalDemoFusion
from freescale.nodes.rival_fouriscale import FreeScaleRivalFouriScale
from freescale.nodes.rival_hidiffusion import FreeScaleRivalHiDiffusion
from freescale.nodes.rival_scalecrafter import FreeScaleRivalScaleCrafter

import nodes as host_nodes  # noqa: F401  the host's nodes: comfy_extras above rely on them

NATIVE, LARGE, HUGE = (16, 16), (32, 32), (64, 64)  # latents of 128 px, the model's native size, of 256 and of 512 px
ODD = (40, 28)  # 320 × 224 px: S = 3
UNET = "diffusion_model."


def scalecrafter(model, **changed):
    return FreeScaleRivalScaleCrafter.execute(model, **{"noise_damping": True, "native_size": 0, **changed}).args[0]


def demofusion(model, **changed):
    return FreeScaleRivalDemoFusion.execute(model, **{"blur": 1.0, "seed": 0, "native_size": 0, **changed}).args[0]


def fouri(model, **changed):
    settings = {"full_percent": 0.4, "end_percent": 0.7, "native_size": 0, **changed}
    return FreeScaleRivalFouriScale.execute(model, **settings).args[0]


def hidiffusion(model, **changed):
    return FreeScaleRivalHiDiffusion.execute(model, **{"seed": 0, "native_size": 0, **changed}).args[0]


RIVALS = {"ScaleCrafter": scalecrafter, "DemoFusion": demofusion, "FouriScale": fouri, "HiDiffusion": hidiffusion}
every_rival = pytest.mark.parametrize("rival", RIVALS.values(), ids=RIVALS)


@functools.cache
def graph(name):
    """A family's model, which all tests share, with two prompts."""
    return families.graph(FAMILIES[name])


def draw(model, g, size, sigmas):
    """A latent drawn with a family's prompts."""
    return comfy.sample.sample_custom(
        model, families.random(1, 4, *size, seed=3), 2.0, comfy.samplers.sampler_object("euler"), sigmas, g.positive, g.negative,
        families.random(1, 4, *size), seed=1, disable_pbar=True,
    )  # fmt: skip


def sigma_at(model, step):
    """The noise level of a step of 50 ddim_uniform ones: t = 981 − 20 i."""
    return float(model.get_model_object("model_sampling").sigmas[981 - 20 * step])


def at_steps(model, *steps):
    return torch.tensor([sigma_at(model, step) for step in steps] + [0.0])


def assert_close(a, b):
    """Equal but for float32 rounding."""
    assert (a - b).abs().max() <= 2e-5 * b.abs().max()


# ---------------------------------------------------------------- where they act


@every_rival
def test_changes_nothing_at_the_native_size_or_below_and_something_above(model, run, rival):
    for size in (NATIVE, (8, 12), (20, 16)):
        assert torch.equal(run(rival(model), size), run(model, size))
    assert not torch.allclose(run(rival(model), LARGE), run(model, LARGE), atol=1e-3)


@every_rival
def test_one_patched_model_serves_every_size_in_any_order(model, run, rival):
    patched = rival(model)
    first = {size: run(patched, size, steps=1) for size in (LARGE, ODD, NATIVE)}
    again = {size: run(patched, size, steps=1) for size in (NATIVE, ODD, LARGE)}
    assert all(torch.equal(first[size], again[size]) and torch.isfinite(first[size]).all() for size in first)


@every_rival
def test_native_size_is_the_longer_side(model, run, rival):
    assert torch.equal(run(rival(model, native_size=256), LARGE, steps=1), run(model, LARGE, steps=1))
    assert not torch.equal(run(rival(model, native_size=64), NATIVE, steps=1), run(model, NATIVE, steps=1))


OTHERS = ("SD 1.5", "SD 2 v", "SSD-1B, Vega", "KOALA-700M", "SDXL refiner", "SDXL EDM (Playground 2.5)", "SDXL inpainting")
CASES = [*itertools.product(OTHERS, [LARGE, ODD]), ("SD 1.5", HUGE), ("KOALA-700M", HUGE)]


@every_rival
@pytest.mark.parametrize(("name", "size"), CASES, ids=str)
def test_every_family_is_drawn(rival, name, size):
    g = graph(name)
    sigmas = at_steps(g.model, 5) if size == HUGE else at_steps(g.model, 0, 10)
    drawn, plain = (draw(m, g, size, sigmas) for m in (rival(g.model), g.model))
    assert torch.isfinite(drawn).all() and not torch.allclose(drawn, plain, atol=1e-3)


@pytest.mark.parametrize("rival", [scalecrafter, fouri, hidiffusion])  # DemoFusion does not look inside
def test_another_u_net_is_refused(sketch, rival):
    with pytest.raises(ValueError, match=r"FreeScale Rival \w+ › model = .*its U-Net has 1 levels"):
        rival(sketch)


# ---------------------------------------------------------------- ScaleCrafter

MIDDLE = [f"middle_block.{i}.{part}" for i in (0, 2) for part in ("in_layers.2", "out_layers.3")]


def residual(section, *blocks):
    return [f"{section}_blocks.{i}.0.{part}" for i in blocks for part in ("in_layers.2", "out_layers.3")]


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


# ---------------------------------------------------------------- DemoFusion


def predictions(model, run, size, step, cfg=1.0, batch=1):
    """(the noised latent, what the MODEL makes of it) at one step."""
    seen = {}

    def sampler(inner, x, sigmas, extra_args=None, **_):
        seen["x"], seen["x0"] = x.clone(), inner(x, sigmas[:1].expand(len(x)), **extra_args)
        return x

    run(model, size, sampler=comfy.samplers.KSAMPLER(sampler), sigmas=at_steps(model, step), cfg=cfg, batch=batch)
    return seen["x"], seen["x0"]


def watched(model):
    """A clone that notes what the U-Net is called with."""
    calls, patched = [], model.clone()

    def note(executor, x, timesteps, context=None, y=None, *args, **kwargs):
        calls.append((tuple(x.shape), None if y is None else y.clone()))
        return executor(x, timesteps, context, y, *args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note)
    return patched, calls


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


ALONE_SIZE = {"width": 256, "height": 256, "target_width": 256, "target_height": 256}  # what ComfyUI takes for LARGE


def test_the_cascade_around_it_is_demofusions_own_loop(model, run):
    """Written as its code is: every window and lattice takes the scheduler's step by itself, and the steps' results are mixed.

    The cascade's part is the blend with `detail` 3 on the whole schedule, which `denoise` 1 leaves as it is.
    """
    model_sampling, latent_format = (model.get_model_object(name) for name in ("model_sampling", "latent_format"))
    sigmas = comfy.samplers.calculate_sigmas(model_sampling, "ddim_uniform", 4)
    timesteps = [751, 501, 251, 1]
    assert torch.equal(stage_sigmas(sigmas, sigma_table(model_sampling), 1.0), sigmas)
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


def controlnet():
    """ComfyUI's own ControlNet."""
    unet = {k: v for k, v in FAMILIES["SDXL"].unet.items() if k not in ("out_channels", "transformer_depth_output")}
    network = comfy.cldm.cldm.ControlNet(
        **unet, hint_channels=3, dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init
    )
    families.fill(network, 3)
    return comfy.controlnet.ControlNet(network, load_device=comfy.model_management.get_torch_device())


def t2i_adapter():
    network = comfy.t2i_adapter.adapter.Adapter([32, 64, 128, 128], 2, 768, 1, True, False, True)
    families.fill(network, 3)
    return comfy.controlnet.T2IAdapter(network, network.input_channels, 8, "nearest-exact")


def controlled(model, size, sigmas, control):
    """A latent drawn under its guidance."""
    hint = families.random(1, 128, 128, 3).abs().clamp(0, 1)
    prompts = [families.conditioning(FAMILIES["SDXL"], seed) for seed in (1, 2)]
    prompts = host_nodes.ControlNetApplyAdvanced().apply_controlnet(*prompts, control, hint, 0.7, 0.0, 1.0)
    return draw(model, families.Graph(FAMILIES["SDXL"], model, *prompts[:2], {}), size, sigmas)


def test_demofusion_refuses_a_controlnet(model):
    with pytest.raises(ValueError, match="FreeScale Rival DemoFusion › model = 'with ControlNet': .* Remove the ControlNet"):
        controlled(demofusion(model), LARGE, at_steps(model, 10), controlnet())
    controlled(demofusion(model), NATIVE, at_steps(model, 10), controlnet())


@pytest.mark.parametrize("rival", [scalecrafter, fouri, hidiffusion])
@pytest.mark.parametrize("control", [controlnet, t2i_adapter])
@pytest.mark.parametrize("size", [LARGE, ODD, HUGE])
def test_the_others_live_with_one(model, rival, control, size, caplog):
    """ComfyUI only warns where an answer does not fit the features: none may be dropped."""
    for step in (2, 10, 25):
        with caplog.at_level(logging.WARNING):
            out = controlled(rival(model), size, at_steps(model, step), control())
        assert torch.isfinite(out).all() and not [text for text in caplog.messages if "control" in text]


# ---------------------------------------------------------------- FouriScale

FILTERED = residual("input", 7, 8) + MIDDLE + residual("output", 0, 1, 2, 3, 4, 5)


def test_fouriscale_runs_the_prompted_rows_twice(model, run):
    patched, calls = watched(fouri(model))
    run(patched, LARGE, sigmas=at_steps(model, 2, 34, 35), cfg=3.0)
    assert [shape[0] for shape, _ in calls] == [3, 3, 2]  # uncond, strong, weak


def test_fouriscale_knows_the_prompt_wherever_it_stands_in_a_call(model):
    """A guider with two prompts puts the negative one first: its rows stay plain, and the positive one's are weak all the same."""
    g, middle, answers = graph("SDXL"), families.conditioning(FAMILIES["SDXL"], 5), []

    def listening(executor, *args, **kwargs):
        out = executor(*args, **kwargs)
        answers.append([prediction.clone() for prediction in out])
        return out

    patched = fouri(model)
    patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "test", listening)
    draw(patched, g, LARGE, at_steps(model, 2))
    guider = Guider_DualCFG(patched)
    guider.set_conds(g.positive, middle, g.negative)
    guider.set_cfg(3.0, 2.0)
    latent, noise = families.random(1, 4, *LARGE), families.random(1, 4, *LARGE, seed=3)
    guider.sample(noise, latent, comfy.samplers.sampler_object("euler"), at_steps(model, 2), seed=1, disable_pbar=True)
    (positive, negative), (dual_negative, _, dual_positive) = answers
    assert_close(dual_positive, positive)
    assert_close(dual_negative, negative)


def test_fouriscales_layers(model, run):
    """Each layer's output in context is that of its own filtered and dilated input, weak rows weakly."""
    patched, reach, seen = fouri(model), fouriscale.REACH[3], {}

    def recording(name):
        """A hook of the layer's module itself, so that it sees what goes in and comes out."""

        def note(module, args, out):
            seen[name] = (args[0].clone(), out.clone())

        return patched.get_model_object(UNET + name).register_forward_hook(note)

    everything = [*FILTERED, "output_blocks.2.2.conv", "output_blocks.5.2.conv", "input_blocks.6.0.op", *residual("output", 6)]
    handles = [recording(name) for name in everything]
    try:
        run(patched, HUGE, sigmas=at_steps(model, 25), cfg=3.0)
    finally:
        for handle in handles:
            handle.remove()
    d = 3 * 10 / 15 + 1  # S = 4 at step 25
    for name, (x, out) in seen.items():
        layer = patched.get_model_object(UNET + name)
        if name in FILTERED:
            strong = fouriscale.low_passed(x[:2], tuple(x.shape[-2:]), d, False, reach.lowest)
            weak = fouriscale.low_passed(x[2:], tuple(x.shape[-2:]), d, True, reach.lowest)
        else:
            strong, weak = x[:2], x[2:]
        dilations = (3, 2) if name in FILTERED or name == "output_blocks.2.2.conv" else (1, 1)
        stride = 2 if name.endswith(".op") else 1
        expected = [
            F.conv2d(rows, layer.weight, layer.bias, stride, n, n) for rows, n in zip((strong, weak), dilations, strict=True)
        ]
        assert torch.allclose(out, torch.cat(expected), rtol=0, atol=2e-5), name


def test_the_weak_branch_looks_where_the_strong_one_does(model, run):
    """q and k of the weak rows are the strong rows', v is their own; the host's order of chunks does not matter."""
    observed, tokens = model.clone(), []

    def replacement(q, k, v, extra):
        assert extra["cond_or_uncond"] in ([1, 0, 0], [0, 1, 0])
        strong = extra["cond_or_uncond"].index(0)
        tokens.append((torch.equal(q[2], q[strong]), torch.equal(k[2], k[strong]), torch.equal(v[2], v[strong])))
        return comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

    for block in (("input", 8), ("middle", 0), ("output", 4)):
        observed.set_model_attn1_replace(replacement, *block)
    run(fouri(observed), HUGE, sigmas=at_steps(model, 2), cfg=3.0)
    assert set(tokens) == {(True, True, False)}


def test_guidance_goes_from_the_unprompted_to_the_weak_prediction(model, run):
    """u + g (weak − u): linear in g, and what is prompted is neither the plain nor the strong prediction."""
    patched = fouri(model)
    (x, weak), (_, guided), (_, unprompted) = (predictions(patched, run, HUGE, 2, cfg) for cfg in (1.0, 3.0, 0.0))
    assert_close(guided, unprompted + 3 * (weak - unprompted))
    assert not torch.allclose(weak, predictions(model, run, HUGE, 2)[1], atol=1e-3)


def test_fouriscale_pads_a_picture_that_is_no_multiple(model, run, monkeypatch):
    """40 × 28 cells, native 16 × 16, S = 3: what is 10 × 7 deepest down becomes 12 × 12, three times the native 4 × 4."""
    sizes, original = set(), fouriscale.low_passed

    def noting(x, padded, *rest):
        sizes.add((tuple(x.shape[-2:]), padded))
        return original(x, padded, *rest)

    monkeypatch.setattr(fouriscale, "low_passed", noting)
    run(fouri(model), ODD, sigmas=at_steps(model, 2))
    assert sizes == {((10, 7), (12, 12)), ((20, 14), (24, 24))}


# ---------------------------------------------------------------- HiDiffusion


def feature_sizes(model, run, rival, size, step):
    """(section, block) → the size of the features that leave it."""
    sizes = {}

    def note(h, extra):
        sizes[extra["block"]] = tuple(h.shape[-2:])
        return h

    def note_up(h, skip, extra):
        sizes[extra["block"]] = tuple(skip.shape[-2:])
        return h, skip

    patched = rival(model).clone()
    patched.set_model_input_block_patch_after_skip(note)
    patched.set_model_output_block_patch(note_up)
    run(patched, size, sigmas=at_steps(model, step), cfg=1.0)
    return sizes


def test_hidiffusions_features_are_smaller_early_on(model, run):
    """SDXL at 2×: until step 8 the second downsampler halves twice; from 8 to 20 the level between is pooled; then never."""
    full = feature_sizes(model, run, lambda m: m, LARGE, 2)
    assert full["input", 4] == (16, 16) and full["input", 7] == (8, 8)
    early, middle, late = (feature_sizes(model, run, hidiffusion, LARGE, step) for step in (7, 8, 20))
    deep = [("input", i) for i in (6, 7, 8)] + [("output", i) for i in (0, 1, 2)]
    deep_from_pool = deep + [("input", i) for i in (4, 5)] + [("output", i) for i in (3, 4)]
    for found, smaller in ((early, deep), (middle, deep_from_pool), (late, [])):
        assert found == {place: tuple(n // 2 for n in size) if place in smaller else size for place, size in full.items()}
    odd = feature_sizes(model, run, hidiffusion, (40, 28), 10)
    assert odd["input", 4] == (10, 7) and odd["input", 6] == (5, 4) and odd["output", 5] == (20, 14)


@pytest.mark.parametrize(
    ("name", "op", "up"),
    [("SDXL", "input_blocks.6.0.op", "output_blocks.2.2.conv"), ("SD 1.5", "input_blocks.3.0.op", "output_blocks.8.2.conv")],
)
def test_the_strided_downsampler_is_dilated_and_its_upsampler_smooth(name, op, up):
    """The features come back at four times their size: by repetition and bicubically, by two each."""
    g, seen = graph(name), {}
    layers = {place: g.model.get_model_object(UNET + place) for place in (op, up)}

    def recording(place):
        def note(module, args, out):
            seen[place] = (args[0].clone(), out.clone())

        return layers[place].register_forward_hook(note)

    handles = [recording(place) for place in layers]
    try:
        draw(hidiffusion(g.model), g, LARGE, at_steps(g.model, 7))
    finally:
        for handle in handles:
            handle.remove()
    x, out = seen[op]
    assert torch.allclose(out, F.conv2d(x, layers[op].weight, layers[op].bias, 4, 2, 2), rtol=0, atol=1e-5)
    x, out = seen[up]
    small = x[..., ::4, ::4]
    assert torch.equal(x, small.repeat_interleave(4, -1).repeat_interleave(4, -2))
    smooth = F.interpolate(small.repeat_interleave(2, -1).repeat_interleave(2, -2), scale_factor=2.0, mode="bicubic")
    assert torch.allclose(out, F.conv2d(smooth, layers[up].weight, layers[up].bias, 1, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "windowed", "whole"),
    [
        ("SDXL", [("input", 4), ("input", 5), ("output", 3), ("output", 5)], [("input", 7), ("middle", 0), ("output", 1)]),
        ("SD 1.5", [("input", 1), ("input", 2), ("output", 9), ("output", 11)], [("input", 4), ("middle", 0), ("output", 8)]),
        ("SDXL refiner", [("input", 4), ("input", 5), ("output", 6), ("output", 8)], [("input", 7), ("output", 4)]),
    ],
)
def test_hidiffusions_windows_are_the_finest_attentions(name, windowed, whole):
    g, seen = graph(name), {}

    def observer(block):
        def replacement(q, k, v, extra):
            seen[block] = q.shape[0]
            return comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

        return replacement

    observed = g.model.clone()
    for block in windowed + whole:
        observed.set_model_attn1_replace(observer(block), *block)
    draw(hidiffusion(observed), g, LARGE, at_steps(g.model, 30))
    assert seen == {**dict.fromkeys(windowed, 4 * 2), **dict.fromkeys(whole, 2)}  # cond and uncond


# ---------------------------------------------------------------- nothing is left behind


def state_of(model):
    def snapshot(value):
        if isinstance(value, dict):
            return {k: snapshot(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [snapshot(v) for v in value]
        return value.clone() if isinstance(value, torch.Tensor) else value

    return snapshot({
        "options": model.model_options, "object_patches": model.object_patches, "patches": model.patches, "uuid": str(model.patches_uuid),
        "wrappers": model.wrappers, "callbacks": model.callbacks, "injections": model.injections, "hooks": model.hook_patches,
    })  # fmt: skip


@pytest.fixture
def unchanged(model, run):
    """Fails the test if the shared MODEL is not what it was, or samples other bits than before."""
    picture, state = run(model, LARGE, steps=1), state_of(model)
    bits = {k: v.clone() for k, v in model.model.state_dict().items()}
    yield
    assert host_convolution._convolves.get({}) == {}
    assert state_of(model) == state
    assert torch.equal(run(model, LARGE, steps=1), picture)
    now = model.model.state_dict()
    assert now.keys() == bits.keys() and all(torch.equal(now[k], bits[k]) for k in bits)
    conv = model.get_model_object(UNET + "middle_block.0.in_layers.2")
    assert conv._conv_forward.__func__ is torch.nn.Conv2d._conv_forward


@every_rival
def test_the_input_model_is_untouched(model, run, rival, unchanged):
    patched = rival(model)
    assert patched is not model and patched.model is model.model
    before = state_of(patched)
    run(patched, LARGE)
    assert state_of(patched) == before


@every_rival
@pytest.mark.parametrize("interrupted", [False, True])
def test_an_exception_or_a_cancel_leaves_nothing_behind(model, run, rival, interrupted, unchanged):
    def stop():
        if interrupted:
            comfy.model_management.interrupt_current_processing()
            comfy.model_management.throw_exception_if_processing_interrupted()
        raise RuntimeError("another patch failed")

    expected, calls = run(rival(model), LARGE), itertools.count(1)
    failing = rival(model)
    failing.set_model_attn2_output_patch(lambda n, extra: (next(calls) == 17 and stop(), n)[1])
    error = comfy.model_management.InterruptProcessingException if interrupted else RuntimeError
    with pytest.raises(error):
        run(failing, LARGE)
    assert torch.equal(run(rival(model), LARGE), expected)


# ---------------------------------------------------------------- repeatable


@pytest.mark.parametrize("rival", [demofusion, hidiffusion])
def test_same_seed_same_bits(model, run, rival):
    before = torch.get_rng_state()
    noise = families.random(1, 4, *LARGE)
    pictures = [run(rival(model, seed=seed), LARGE, noise=noise) for seed in (7, 7, 8)]
    assert torch.equal(pictures[0], pictures[1])
    assert (pictures[0] - pictures[2]).abs().max() > 1e-3 * pictures[0].abs().max()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("rival", "size"),
    [
        *itertools.product([scalecrafter, fouri, hidiffusion], [LARGE, HUGE]),
        (demofusion, LARGE),
    ],  # which does the same at any size
)
def test_cond_and_uncond_apart_equal_batched(model, run, rival, size):
    sigmas = at_steps(model, 5, 12)
    together = run(rival(model), size, sigmas=sigmas)
    hungry, calls = watched(rival(model))
    hungry.add_object_patch("memory_usage_factor", 1e9)  # the host now believes that one picture fills the memory
    apart = run(hungry, size, sigmas=sigmas)
    if rival is not demofusion:
        assert {shape[0] for shape, _ in calls} <= ({1, 2} if rival is fouri else {1})
    assert_close(together, apart)


@every_rival
def test_pictures_of_a_batch_are_drawn_as_alone(model, run, rival):
    noise = families.random(1, 4, *LARGE)
    latents = run(rival(model), LARGE, batch=2, steps=1, noise=noise.repeat(2, 1, 1, 1))
    assert_close(latents[:1], run(rival(model), LARGE, batch=1, steps=1, noise=noise))


# ---------------------------------------------------------------- neighbours


def freeu(m):
    return host_node(FreeU, m, 1.1, 1.2, 0.6, 0.4)[0]


def lora(m):
    patched = m.clone()
    keys = [
        "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight",
        "diffusion_model.input_blocks.6.0.op.weight",
    ]
    keys += ["diffusion_model.middle_block.0.in_layers.2.weight"]
    generator = torch.Generator().manual_seed(4)
    changes = {key: (0.2 * torch.randn(m.model.state_dict()[key].shape, generator=generator),) for key in keys}
    assert set(patched.add_patches(changes, 0.8)) == set(keys)
    return patched


def attention(m):
    """Another node's replacement of a self-attention."""

    def replacement(q, k, v, extra):
        return 0.5 * comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

    patched = m.clone()
    patched.set_model_attn1_replace(replacement, "input", 4)
    return patched


def guidance(m):
    """Another node's guidance, before and after the host's."""
    patched = m.clone()
    patched.set_model_sampler_post_cfg_function(
        lambda args: args["denoised"] + 0.1 * (args["cond_denoised"] - args["uncond_denoised"])
    )
    return patched


@every_rival
@pytest.mark.parametrize("other", [freeu, lora, attention, guidance])
def test_stacks_with_another_node_in_either_order(model, run, rival, other):
    one, two = run(other(rival(model)), LARGE), run(rival(other(model)), LARGE)
    assert torch.isfinite(one).all() and torch.equal(one, two)
    for alone_ in (rival, other):
        assert not torch.allclose(one, run(alone_(model), LARGE), atol=1e-4)


@every_rival
def test_lives_with_deep_shrink(model, run, rival):
    shrunk = host_node(PatchModelAddDownscale, model, 3, 2.0, 0.0, 0.35, True, "bicubic", "bicubic")[0]
    assert torch.isfinite(run(rival(shrunk), LARGE)).all()


@every_rival
def test_gligen_is_kept_or_refused(model, run, rival):
    """Where a call gets more rows than ComfyUI batched, GLIGEN's boxes would not fit: an error before anything else."""
    boxes = rival(model)
    boxes.set_model_patch(lambda x, extra: x, "middle_patch")
    if rival in (demofusion, fouri):
        with pytest.raises(ValueError, match=r"FreeScale Rival \w+ › model = 'with GLIGEN'"):
            run(boxes, LARGE)
    else:
        assert torch.isfinite(run(boxes, LARGE)).all()


def test_bad_settings_are_refused_by_name(model):
    with pytest.raises(ValueError, match="FreeScale Rival FouriScale › full_percent = 0.8: it is after end_percent = 0.2"):
        fouri(model, full_percent=0.8, end_percent=0.2)
