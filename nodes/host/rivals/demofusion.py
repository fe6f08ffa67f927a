"""DemoFusion on a MODEL: each model call becomes calls on windows and on lattices of the latent."""

import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....freescale_core.rivals.demofusion import demofusion, joined, matched
from ....freescale_core.windows import draw_key, jittered_views, windows_of
from ..errors import bad_input
from ..family import running_family, unet_of
from ..seam.calls import Call, on_enlarged
from .rows import map_rows, require_own_rows

KEY = "freescale_rival_demofusion"


def with_demofusion(
    model: ModelPatcher, blur: float, seed: int, native_size: int, base_latent: Tensor | None, node: str
) -> ModelPatcher:
    """A clone of `model` that denoises enlarged latents in windows and lattices.

    With `base_latent` [B, C, h, w] every sampling that is enlarged ends with its means and standard deviations.
    """
    family = unet_of(model, node)
    kind = type(family)

    def denoise_crops(call: Call) -> Tensor:
        require_own_rows(call.options, node)
        if call.control is not None:
            raise bad_input(
                node,
                "model",
                "with ControlNet",
                "a ControlNet or T2I adapter answers for the whole picture, and DemoFusion draws parts of it. Remove the "
                "ControlNet from this stage's prompts, or use FreeScale Scale Fusion, which keeps it",
            )
        batch, _, h, w = call.x.shape
        prompts = len(call.options.get("cond_or_uncond") or [0])  # a call's rows are as many pictures of each

        def denoise(crops, cut, corners):
            comfy.model_management.throw_exception_if_processing_interrupted()  # a step is many calls

            def repeated(rows):
                return joined([rows] * (len(crops) // batch), prompts)

            conditions = map_rows(call.conditions, batch, repeated)
            if corners is not None:
                conditions = call.family.with_crops(conditions, corners)
            return call.run(
                x=crops,
                t=repeated(call.t),
                c_concat=call.c_concat if call.c_concat is None else cut(call.c_concat),
                c_crossattn=map_rows(call.c_crossattn, batch, repeated),
                options=dict(call.options),
                conditions=conditions,
            )

        plan = windows_of((h, w), call.family.latent_size(*call.enlarged.native))
        views = jittered_views(plan, draw_key(seed, call.sigma, h, w, "demofusion", 0, 0))
        timestep, factor = call.family.noise.timestep(call.sigma), call.enlarged.factor
        return demofusion(call.x, timestep, plan, views, factor, blur, denoise, prompts)

    patched = model.clone()
    on_enlarged(patched, family, KEY, denoise_crops, native_size)
    if base_latent is not None:

        def around_sampling(executor, noise, latent, sampler, sigmas, denoise_mask=None, *args, **kwargs):
            samples = executor(noise, latent, sampler, sigmas, denoise_mask, *args, **kwargs)
            ran = executor.class_obj.model_patcher
            running = running_family(kind, ran.model, ran.model_options["transformer_options"], native_size)
            if running.enlarged(*samples.shape[-2:]) is None:
                return samples
            ended = matched(samples, comfy.utils.repeat_to_batch_size(base_latent.to(samples), len(samples)))
            return ended if denoise_mask is None else torch.lerp(samples, ended, denoise_mask.to(samples))  # what is kept stays

        patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, around_sampling)
    return patched
