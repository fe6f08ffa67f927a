"""ScaleCrafter on a MODEL: its convolutions for the length of a model call, its guidance after ComfyUI's."""

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....freescale_core.geometry import Enlargement
from ....freescale_core.rivals.scalecrafter import Redilation, redilation
from ..dilation import dilated
from ..family import family_of, running_family
from ..seam.calls import Call, on_enlarged
from ..seam.convolution import computed_as, warn_of_others
from .levels import unet_levels

KEY = "freescale_rival_scalecrafter"
DAMPED = "freescale_scalecrafter_damped"  # in the options of the one more call that noise-damped guidance makes


def with_scalecrafter(model: ModelPatcher, noise_damping: bool, native_size: int, node: str) -> ModelPatcher:
    """A clone of `model` with re-dilated convolutions, and noise-damped guidance where the picture's row has it."""
    levels, count = unet_levels(family_of(model, node), node)

    def row(enlarged: Enlargement) -> Redilation:
        return redilation(count, enlarged.ratio)

    def redilate(call: Call) -> Tensor:
        factors = row(call.enlarged).at(call.family.noise.step(call.sigma), call.options.get(DAMPED, False))
        convolves = {layer: dilated(d) for level, d in factors.items() for layer in levels.get(level, ())}
        with computed_as(call.family, convolves):
            return call.run()

    def damp(args):
        """ε_damped(uncond) + g (ε(text) − ε(uncond)): the guidance there is, with the unprompted part exchanged."""
        base, x, sigma, model_options = args["model"], args["input"], args["sigma"], args["model_options"]
        options = model_options.get("transformer_options", {})
        family = running_family(base, options, native_size)
        enlarged = family.enlarged(*x.shape[-2:])
        step = family.noise.step(float(sigma.flatten()[0]))
        if args["uncond"] is None or not enlarged or not row(enlarged).at(step, damped=True):
            return args["denoised"]
        conds: list = [None, args["uncond"]]
        with_mark = {**model_options, "transformer_options": {**options, DAMPED: True}}
        _, damped = comfy.samplers.calc_cond_batch(base, conds, x, sigma, with_mark)
        return args["denoised"] + damped - args["uncond_denoised"]

    patched = model.clone()
    warn_of_others(patched, (layer for layers in levels.values() for layer in layers), node)
    on_enlarged(patched, KEY, redilate, native_size)
    if noise_damping:
        patched.set_model_sampler_post_cfg_function(damp)
    return patched
