"""ScaleCrafter on a MODEL: its convolutions for the length of a model call, its guidance after ComfyUI's."""

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....freescale_core.geometry import Enlargement
from ....freescale_core.rivals.scalecrafter import Redilation, redilation
from ..dilation import dilated
from ..family import running_family, unet_of
from ..seam.calls import Call, on_enlarged
from ..seam.convolution import computed_as
from .levels import unet_levels

KEY = "freescale_rival_scalecrafter"
DAMPED = "freescale_scalecrafter_damped"  # in the options of the one more call that noise-damped guidance makes


def with_scalecrafter(model: ModelPatcher, noise_damping: bool, native_size: int, node: str) -> ModelPatcher:
    """A clone of `model` with re-dilated convolutions, and noise-damped guidance where the picture's row has it."""
    family = unet_of(model, node)
    kind, (levels, count) = type(family), unet_levels(family, node)

    def row(enlarged: Enlargement) -> Redilation:
        return redilation(count, enlarged.ratio)

    def redilate(call: Call) -> Tensor:
        factors = row(call.enlarged).at(call.family.noise.step(call.sigma), call.options.get(DAMPED, False))
        convolves = {layer: dilated(d) for level, d in factors.items() for layer in levels.get(level, ())}
        with computed_as(call.family, convolves, node):
            return call.run()

    def damp(args):
        """ε_damped(uncond) + g (ε(text) − ε(uncond)): the guidance there is, with the unprompted part exchanged."""
        base, x, sigma, model_options = args["model"], args["input"], args["sigma"], args["model_options"]
        options = model_options.get("transformer_options", {})
        running = running_family(kind, base, options, native_size)
        enlarged = running.enlarged(*x.shape[-2:])
        step = running.noise.step(float(sigma.flatten()[0]))
        if args["uncond"] is None or not enlarged or not row(enlarged).at(step, damped=True):
            return args["denoised"]
        conds: list = [None, args["uncond"]]
        with_mark = {**model_options, "transformer_options": {**options, DAMPED: True}}
        _, damped = comfy.samplers.calc_cond_batch(base, conds, x, sigma, with_mark)
        return args["denoised"] + damped - args["uncond_denoised"]

    patched = model.clone()
    on_enlarged(patched, family, KEY, redilate, native_size)
    if noise_damping:
        patched.set_model_sampler_post_cfg_function(damp)
    return patched
