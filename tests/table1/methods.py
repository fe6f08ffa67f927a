"""The ways to a large picture that Table 1 compares, each by the settings of its own paper (js/docs has them in words)."""

from collections.abc import Callable

import comfy.model_base
import families
import torch
from comfy_extras.nodes_freelunch import FreeU
from freescale.nodes.host import pictures
from freescale.nodes.host.cascade import Stage, run_stage
from freescale.nodes.rival_demofusion import FreeScaleRivalDemoFusion
from freescale.nodes.rival_fouriscale import FreeScaleRivalFouriScale
from freescale.nodes.rival_hidiffusion import FreeScaleRivalHiDiffusion
from freescale.nodes.rival_scalecrafter import FreeScaleRivalScaleCrafter

import nodes as host_nodes

REFERENCE = "reference"
METHODS = ("direct", "ScaleCrafter", "FouriScale", "HiDiffusion", "DemoFusion", "FreeScale")
SAMPLER, SCHEDULER = "euler", "ddim_uniform"  # in every paper, but for FouriScale's ancestral sampler
FREE_U = (1.1, 1.2, 0.6, 0.4)  # on in the authors' scripts of FreeScale and of FouriScale


def paper_cfg(model) -> dict[str, float]:
    """Name → guidance scale in its paper."""
    by_name = dict.fromkeys((REFERENCE, *METHODS), 7.5)
    if isinstance(model.model, comfy.model_base.SDXL):
        by_name |= {"ScaleCrafter": 5.0, "FouriScale": 5.0}
    return by_name


def methods(
    model, positive: list, negative: list, vae, steps: int, cfg: dict[str, float], native: int, target: int
) -> dict[str, Callable[[int], torch.Tensor]]:
    """Name → function of the seed that draws a square picture [1, H, W, 3]: `target` px a side, the reference `native` px."""

    def sampled(name, model, side, seed, positive=positive, negative=negative, sampler=SAMPLER):
        [empty] = families.host_node(host_nodes.EmptyLatentImage, side, side, 1)
        settings = (seed, steps, cfg[name], sampler, SCHEDULER, positive, negative, empty)
        return families.host_node(host_nodes.KSampler, model, *settings)[0]

    def drawn(*arguments, **more):
        return pictures.decode(vae, sampled(*arguments, **more)["samples"], "auto")

    def cascade(name, model, latent, seed, sides, denoise, detail, resize_in):
        for side in sides:
            stage = Stage(side, side, seed, steps, cfg[name], SAMPLER, SCHEDULER, denoise, detail, resize_in, "auto")
            picture, latent = run_stage(name, model, positive, negative, vae, stage, latent, None)
        return picture

    [with_freeu] = families.host_node(FreeU, model, *FREE_U)

    def fouriscale(seed):
        [patched] = FreeScaleRivalFouriScale.execute(with_freeu, 0.4, 0.7, 0).args
        # The authors tell SDXL the native size: ComfyUI would tell it the target's.
        sized = [[[tokens, {"width": native, "height": native, **more}] for tokens, more in p] for p in (positive, negative)]
        return drawn("FouriScale", patched, target, seed, *sized, sampler="euler_ancestral")

    def demofusion(seed):
        base = sampled("DemoFusion", model, native, seed)
        [patched] = FreeScaleRivalDemoFusion.execute(model, 1.0, seed, 0, base).args
        sides = [*range(2 * native, target, native), target]
        return cascade("DemoFusion", patched, base, seed, sides, 1.0, 3.0, "latent")

    def freescale(seed):
        base = sampled("FreeScale", with_freeu, native, seed)
        patched = families.with_dilation(families.with_scale_fusion(with_freeu, seed=seed))
        sides = [side for side in (native * 2**i for i in range(1, 10)) if side < target] + [target]
        return cascade("FreeScale", patched, base, seed, sides, 0.7, 2.0, "pixels")

    return {
        REFERENCE: lambda seed: drawn(REFERENCE, model, native, seed),
        "direct": lambda seed: drawn("direct", model, target, seed),
        "ScaleCrafter": lambda seed: drawn(
            "ScaleCrafter", FreeScaleRivalScaleCrafter.execute(model, True, 0).args[0], target, seed
        ),
        "FouriScale": fouriscale,
        "HiDiffusion": lambda seed: drawn("HiDiffusion", FreeScaleRivalHiDiffusion.execute(model, seed, 0).args[0], target, seed),
        "DemoFusion": demofusion,
        "FreeScale": freescale,
    }
