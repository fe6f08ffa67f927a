"""Running a stage: resize, restart, sample under the blend, decode."""

import logging
from math import prod, sqrt
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
from ..errors import bad_input
from ..family import family_of
from ..memory import at_once, memory_text
from ..progress import Show, first_step_text, with_time_left
from .blend import BlendSampler
from .conditioning import stage_conditioning
from .enlarge import reference, with_pictures
from .plan import Stage, frames_at_once, plan_sigmas

# What is known to make values that are not numbers, and what helps.
OF_THE_VAE = (
    "the VAE gives values that are not numbers, most likely because it overflows in half precision. Start ComfyUI with "
    "--fp32-vae (or --bf16-vae), or load another VAE"
)
OF_THE_SAMPLER = (
    "sampling gives values that are not numbers. Most likely the model or a LoRA overflows in half precision, or an attention "
    "backend does: start ComfyUI without --use-sage-attention, --fast or --fp16-unet, lower cfg, or leave out what patches "
    "the model"
)
LEAP = 3.0  # times the picture before
PLACED_ON = (
    "freescale_placed_on"  # in a LATENT: (h, w) cells of the picture before the first stage, on which prompts have their areas
)


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

    A latent that nests a film with its sound (LTX-2's) gives such a one, with the sound as it came.
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
        "order: fewer pictures or frames at once, vae_tiling = always, a smaller stage, starting ComfyUI with --lowvram"
    )


def _run_stage(node, model, positive, negative, vae, stage, latent, image, show) -> tuple[torch.Tensor, dict]:
    sigmas, family = plan_sigmas(node, model, stage), family_of(model, node)
    size = family.latent_size(stage.height, stage.width)
    nest, sound, nothing = None, [], ""
    if latent:
        samples = latent["samples"]
        if samples.is_nested:  # a film with its sound, which is heard and stays as it is
            nest, (samples, *sound) = type(samples), samples.unbind()
        latent = {**latent, "samples": family.as_latent(samples)}
        nothing = _told_of_nothing(node, samples)
    steps, enlarged = len(sigmas) - 1, family.enlarged(*size)
    frames = frames_at_once(family, vae, latent, image)
    memory = f"{memory_text(family.call_bytes(at_once(model, frames), stage.height, stage.width))} beside the model"
    if family.films:
        batch = len(latent["samples"]) if latent else 1
        size_of_all = batch * vae.upscale_ratio[0](frames // batch) * stage.height * stage.width * 3 * torch.float32.itemsize
        memory += f" and {memory_text(size_of_all)} of RAM for the film's pictures"
    inactive = "" if enlarged else " (about the model's native size: Scale Fusion and dilation do not act)"
    before = family.picture_size(*latent["samples"].shape[-2:]) if image is None else image.shape[1:3]
    doubts = nothing + _told_of_a_leap(node, stage, before)
    show(f"{steps} steps, at least {memory}{inactive}{doubts}{first_step_text()}")
    z = _finite(reference(family, vae, stage, latent, image), node, stage, OF_THE_VAE)
    shape = z.shape  # of the film alone
    carried = {k: v for k, v in (latent or {}).items() if k in ("noise_mask", "batch_index", PLACED_ON)}
    carried.setdefault(PLACED_ON, family.latent_size(*before))
    mask = carried.get("noise_mask")
    if nest:
        drawn = torch.ones_like(z) if mask is None else mask.unbind()[0] if mask.is_nested else mask
        z, mask = nest([z, *sound]), nest([drawn, *map(torch.zeros_like, sound)])
    noise = comfy.sample.prepare_noise(z, stage.seed, carried.get("batch_index"))
    inner = comfy.samplers.sampler_object(stage.sampler_name)
    sampler = BlendSampler(inner, stage.detail, stage.detail_map, stage.color_fix, shape)
    positive, negative = (
        stage_conditioning(family, conditioning, carried[PLACED_ON], size, enlarged) for conditioning in (positive, negative)
    )
    positive, negative = with_pictures(family, vae, stage, positive, negative)
    callback = with_time_left(latent_preview.prepare_callback(model, steps), steps, lambda text: show(f"{text}{doubts}"))
    samples = comfy.sample.sample_custom(
        model,
        noise,
        stage.cfg,
        sampler,
        sigmas,
        positive,
        negative,
        z,
        noise_mask=mask,
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=stage.seed,
    )
    film = _finite(samples.unbind()[0] if nest else samples, node, stage, OF_THE_SAMPLER)
    picture = _finite(pictures.decode(vae, film, stage.vae_tiling), node, stage, OF_THE_VAE)
    return picture, {**carried, "samples": nest([film, *sound]) if nest else film}


def _told_of_nothing(node: str, samples: torch.Tensor) -> str:
    """What is said of a latent without a picture, as Empty Latent Image gives it: a stage would enlarge a grey one."""
    if samples.any():
        return ""
    advice = "it is empty. Wire the LATENT of a sampler, which holds a picture"
    logging.warning(f"{node} › latent_image: {advice}.")
    return f". latent_image: {advice}"


def _told_of_a_leap(node: str, stage: Stage, before: tuple[int, int]) -> str:
    """What is said of a stage that enlarges too much at once, by its sides' geometric mean."""
    times = sqrt(stage.height * stage.width / prod(before))
    if times < LEAP:
        return ""
    advice = f"{times:.3g}x at once leaves little of the picture to hold on to; 2x, 2x keeps more"
    logging.warning(f"{node}: {advice}.")
    return f". {advice}"


def _finite(values: torch.Tensor, node: str, stage: Stage, cause: str) -> torch.Tensor:
    """The values, unless some are not numbers: whatever came after would be drawn in vain."""
    if torch.isfinite(values).all():
        return values
    raise bad_input(node, "stages", f"{stage.width}x{stage.height}", f"{cause}. Stages before this one are kept")
