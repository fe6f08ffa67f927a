"""The rivals on a MODEL by their nodes' defaults, and the means to look into a step of theirs."""

import functools

import comfy.sample
import comfy.samplers
import families
import patching
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from families import FAMILIES
from freescale.nodes.rivals.demofusion import FreeScaleRivalDemoFusion
from freescale.nodes.rivals.fouriscale import FreeScaleRivalFouriScale
from freescale.nodes.rivals.hidiffusion import FreeScaleRivalHiDiffusion
from freescale.nodes.rivals.scalecrafter import FreeScaleRivalScaleCrafter

import nodes as host_nodes

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
MIDDLE = [f"middle_block.{i}.{part}" for i in (0, 2) for part in ("in_layers.2", "out_layers.3")]


def residual(section, *blocks):
    return [f"{section}_blocks.{i}.0.{part}" for i in blocks for part in ("in_layers.2", "out_layers.3")]


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
    """Equal but for float32 rounding, which the mixed predictions gather more of."""
    patching.assert_close(a, b, rounding=2e-5)


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


def controlled(model, size, sigmas, control):
    """A latent drawn under the guidance of control(family), such as families.controlnet."""
    hint = families.random(1, 128, 128, 3).abs().clamp(0, 1)
    prompts = [families.conditioning(FAMILIES["SDXL"], seed) for seed in (1, 2)]
    prompts = host_nodes.ControlNetApplyAdvanced().apply_controlnet(*prompts, control(FAMILIES["SDXL"]), hint, 0.7, 0.0, 1.0)
    return draw(model, families.Graph(FAMILIES["SDXL"], model, *prompts[:2], {}), size, sigmas)
