"""Running a stage: resize, restart, sample under the blend, decode."""

from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher

from ....freescale_core.chunks import is_out_of_memory
from .. import pictures
from ..family import Family, family_of
from ..memory import memory_text
from ..progress import Show, first_step_text, with_time_left
from .blend import BlendSampler
from .conditioning import stage_conditioning
from .plan import Stage, plan_sigmas


def run_stage(
    node: str,
    model: ModelPatcher,
    positive: list,
    negative: list,
    vae: Any,
    stage: Stage,
    latent: dict | None,
    image: torch.Tensor | None,
    show: Show = lambda text: None,
) -> tuple[torch.Tensor, dict]:
    """The enlarged picture [B, H, W, 3] and its LATENT; `image`, or else `latent`, is the picture before.

    `show` gets what the stage takes and how long it still lasts, as texts.
    Raises ValueError as `plan_sigmas` does, ComfyUI's own out-of-memory error with what to do about it, and everything
    else that sampling raises, interrupts among them, as it is.
    """
    try:
        return _run_stage(node, model, positive, negative, vae, stage, latent, image, show)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        # raised anew below, where the first error no longer keeps the picture's tensors alive
    raise comfy.model_management.OOM_EXCEPTION(
        f"{node} › stages = '{stage.width}x{stage.height}': there is not enough memory for this stage. What helps, in this "
        "order: one picture instead of a batch, vae_tiling = always, a smaller stage, starting ComfyUI with --lowvram"
    )


def _run_stage(node, model, positive, negative, vae, stage, latent, image, show) -> tuple[torch.Tensor, dict]:
    sigmas, family = plan_sigmas(node, model, stage), family_of(model, node)
    steps, enlarged = len(sigmas) - 1, family.enlarged(*family.latent_size(stage.height, stage.width))
    batch = len(latent["samples"] if image is None else image)
    memory = memory_text(family.call_bytes(batch, stage.height, stage.width))
    inactive = "" if enlarged else " (about the model's native size: Scale Fusion and dilation do not act)"
    show(f"{steps} steps, at least {memory} beside the model{inactive}{first_step_text()}")
    reference = _reference(family, vae, stage, latent, image)
    carried = {k: v for k, v in (latent or {}).items() if k in ("noise_mask", "batch_index")}
    noise = comfy.sample.prepare_noise(reference, stage.seed, carried.get("batch_index"))
    sampler = BlendSampler(comfy.samplers.sampler_object(stage.sampler_name), stage.detail, stage.detail_map)
    positive, negative = (stage_conditioning(family, conditioning, enlarged) for conditioning in (positive, negative))
    callback = with_time_left(latent_preview.prepare_callback(model, steps), steps, show)
    samples = comfy.sample.sample_custom(
        model,
        noise,
        stage.cfg,
        sampler,
        sigmas,
        positive,
        negative,
        reference,
        noise_mask=carried.get("noise_mask"),
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=stage.seed,
    )
    return pictures.decode(vae, samples, stage.vae_tiling), {**carried, "samples": samples}


def _reference(family: Family, vae: Any, stage: Stage, latent, image) -> torch.Tensor:
    """z: the picture before, given as a latent or an image or both, at this stage's size, as a latent."""
    if stage.resize_in == "latent":
        samples = latent["samples"] if latent else pictures.encode(vae, image[..., :3], stage.vae_tiling)
        return pictures.resize_latent(samples, *family.latent_size(stage.height, stage.width))
    if image is None:
        image = pictures.decode(vae, latent["samples"], stage.vae_tiling)
    return pictures.encode(vae, pictures.resize_image(image, stage.height, stage.width), stage.vae_tiling)
