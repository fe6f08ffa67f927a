"""DemoFusion on a MODEL: each model call becomes calls on windows and on lattices of the latent."""

import comfy.model_base
import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...freescale_core.demofusion import demofusion, matched
from ...freescale_core.geometry import LATENT_CELL, jittered_views, windows_of
from ...freescale_core.schedule import timestep
from .attention import draw_key
from .errors import bad_input
from .model import each_row, latent_enlargement, remember_native_size, require_own_rows, sigma_table

KEY = "freescale_rival_demofusion"
SIZES, CROP = 6, 2  # SDXL's size conditioning ends with six numbers, of which the third and fourth are the crop


def with_demofusion(
    model: ModelPatcher, blur: float, seed: int, native_size: int, base_latent: torch.Tensor | None, node: str
) -> ModelPatcher:
    """A clone of `model` that denoises enlarged latents in windows and lattices.

    With `base_latent` [B, C, h, w] every sampling that is enlarged ends with its means and standard deviations.
    """
    patched = model.clone()
    remember_native_size(patched, native_size)

    def around_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        base, sigma, batch = executor.class_obj, float(t.flatten()[0]), x.shape[0]
        size = latent_enlargement(base, native_size, *x.shape[-2:])
        if size is None:
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
        require_own_rows(transformer_options or {}, node)
        if control is not None:
            raise bad_input(
                node,
                "model",
                "with ControlNet",
                "a ControlNet or T2I adapter answers for the whole picture, and DemoFusion draws parts of it. Remove the "
                "ControlNet from this stage's prompts, or use FreeScale Scale Fusion, which keeps it",
            )

        def denoise(parts, cut, corners):
            comfy.model_management.throw_exception_if_processing_interrupted()  # a step is many calls

            def repeated(rows):
                return rows.repeat_interleave(len(parts) // batch, 0)

            conditions = each_row(kwargs, batch, repeated)
            if corners is not None:
                conditions = _cropped(base, conditions, batch, corners)
            concat = c_concat if c_concat is None else cut(c_concat)
            context, options = each_row(c_crossattn, batch, repeated), dict(transformer_options or {})
            return executor(parts, repeated(t), concat, context, None, options, **conditions)

        h, w = x.shape[-2:]
        plan = windows_of((h, w), (size.native[0] // LATENT_CELL, size.native[1] // LATENT_CELL))
        views = jittered_views(plan, draw_key(seed, sigma, h, w, "demofusion", 0, 0))
        return demofusion(x, timestep(sigma, sigma_table(base.model_sampling)), plan, views, size.factor, blur, denoise)

    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, around_model)
    if base_latent is not None:

        def around_sampling(executor, noise, latent, sampler, sigmas, denoise_mask=None, *args, **kwargs):
            samples = executor(noise, latent, sampler, sigmas, denoise_mask, *args, **kwargs)
            if latent_enlargement(executor.class_obj.model_patcher.model, native_size, *samples.shape[-2:]) is None:
                return samples
            ended = matched(samples, comfy.utils.repeat_to_batch_size(base_latent.to(samples), len(samples)))
            return ended if denoise_mask is None else torch.lerp(samples, ended, denoise_mask.to(samples))  # what is kept stays

        patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, around_sampling)
    return patched


def _cropped(base, conditions: dict, batch: int, corners: list[tuple[int, int]]) -> dict:
    """SDXL's size conditioning [B·n, …] with each window's place as its crop, as in DemoFusion's code."""
    y = conditions.get("y")
    if not isinstance(base, comfy.model_base.SDXL) or y is None:
        return conditions
    crops = base.embedder(LATENT_CELL * torch.tensor(corners, dtype=torch.float32).flatten())  # [n·2, width]
    width, y = crops.shape[-1], y.clone()
    first = y.shape[-1] - (SIZES - CROP) * width
    y[:, first : first + 2 * width] = crops.reshape(len(corners), 2 * width).repeat(batch, 1).to(y)
    return {**conditions, "y": y}
