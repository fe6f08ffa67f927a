"""ScaleCrafter on a MODEL: its convolutions for the length of a model call, its guidance after ComfyUI's."""

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...freescale_core.scalecrafter import Redilation, redilation
from .convolution import computed_as, dilated, patch_convolutions
from .model import convolution_levels, convolutions, latent_enlargement, remember_native_size, running_step

KEY = "freescale_rival_scalecrafter"
DAMPED = "freescale_scalecrafter_damped"  # in the options of the one more call that noise-damped guidance makes


def with_scalecrafter(model: ModelPatcher, noise_damping: bool, native_size: int, node: str) -> ModelPatcher:
    """A clone of `model` with re-dilated convolutions, and noise-damped guidance where the picture's row has it."""
    patched = model.clone()
    remember_native_size(patched, native_size)
    (levels, count), strides = convolution_levels(model, node), convolutions(model)

    def row(base, x) -> Redilation | None:
        size = latent_enlargement(base, native_size, *x.shape[-2:])
        return size and redilation(count, size.ratio)

    def around_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        options, now, factors = transformer_options or {}, row(executor.class_obj, x), {}
        if now:
            factors = now.at(running_step(executor.class_obj, float(t.flatten()[0])), options.get(DAMPED, False))
        with computed_as({name: dilated(d) for level, d in factors.items() for name in levels.get(level, ())}):
            return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)

    def damp(args):
        """ε_damped(uncond) + g (ε(text) − ε(uncond)): the guidance there is, with the unprompted part exchanged."""
        base, x, sigma = args["model"], args["input"], args["sigma"]
        now = row(base, x)
        if args["uncond"] is None or not now or not now.at(running_step(base, float(sigma.flatten()[0])), damped=True):
            return args["denoised"]
        options = args["model_options"]
        options = {**options, "transformer_options": {**options.get("transformer_options", {}), DAMPED: True}}
        conds: list = [None, args["uncond"]]
        _, damped = comfy.samplers.calc_cond_batch(base, conds, x, sigma, options)
        return args["denoised"] + damped - args["uncond_denoised"]

    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, around_model)
    patch_convolutions(patched, strides, node)
    if noise_damping:
        patched.set_model_sampler_post_cfg_function(damp)
    return patched
