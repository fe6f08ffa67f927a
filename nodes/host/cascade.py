"""One cascade stage in ComfyUI: resize, restart, sample under the blend, decode (P §3.1)."""

from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher

from ...freescale_core.attention import is_out_of_memory
from ...freescale_core.geometry import LATENT_CELL, Enlargement
from ...freescale_core.schedule import stage_sigmas
from . import pictures
from .errors import bad_input
from .memory import in_words, least_memory
from .model import latent_enlargement, remembered_native_size, require_unet, sigma_table
from .progress import Say, with_time_left
from .sampling import BlendSampler, require_blendable

LARGEST_ASPECT_ERROR = 0.05  # between a detail map and the picture it is stretched to


@dataclass(frozen=True)
class Stage:
    """Everything that a stage is asked for, but its model and its picture."""

    height: int
    width: int
    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    denoise: float
    detail: float
    resize_in: str
    vae_tiling: str
    detail_map: torch.Tensor | None = None


def picture_size(node: str, model: ModelPatcher, vae: Any, latent: dict | None, image: torch.Tensor | None) -> tuple[int, int]:
    """(height, width) px of a cascade's input, a LATENT or an IMAGE [B, H, W, C].

    Raises ValueError where the model, the VAE, the latent and the picture do not go together.
    """
    require_unet(model, node)
    if getattr(vae, "first_stage_model", vae) is None:
        raise bad_input(node, "vae", "none", "the checkpoint holds no VAE. Load one with Load VAE")
    channels = model.get_model_object("latent_format").latent_channels
    if getattr(vae, "latent_channels", channels) != channels:
        raise bad_input(
            node,
            "vae",
            f"{vae.latent_channels} channels",
            f"the model's latents have {channels}. Load the VAE that belongs to the checkpoint",
        )
    if image is not None and latent is None:
        pictures.require_picture(node, "image", image)
        if min(image.shape[1:3]) < LATENT_CELL:
            raise bad_input(
                node,
                "image",
                f"{image.shape[2]}x{image.shape[1]}",
                f"a side has less than {LATENT_CELL} px. Take a larger picture",
            )
        return image.shape[1], image.shape[2]
    if latent is None or image is not None:
        raise bad_input(
            node,
            "latent_image, image",
            "both" if latent else "none",
            "wire exactly one of them: the LATENT of a sampler, or an IMAGE to enlarge",
        )
    samples = latent["samples"]
    require_latent(node, "latent_image", model, samples)
    return samples.shape[2] * LATENT_CELL, samples.shape[3] * LATENT_CELL


def require_latent(node: str, name: str, model: ModelPatcher, samples: torch.Tensor) -> None:
    """Refuse what is not a latent of finite values for this model."""
    channels = model.get_model_object("latent_format").latent_channels
    if samples.ndim != 4 or samples.shape[1] != channels:
        raise bad_input(
            node,
            name,
            list(samples.shape),
            f"the model takes latents of shape [batch, {channels}, height, width]. Use a latent made for this model",
        )
    if not torch.isfinite(samples).all():
        raise bad_input(
            node,
            name,
            "NaN",
            "the latent has values that are not numbers. Look at the sampler before it, or its VAE precision",
        )


def require_plan(node: str, model: ModelPatcher, stage: Stage) -> torch.Tensor:
    """The stage's sigmas [n + 1]; ValueError where its sampler, schedule or detail map cannot be used."""
    require_blendable(comfy.samplers.sampler_object(stage.sampler_name), node, "sampler_name")
    if stage.detail_map is not None:
        require_detail_map(node, stage.detail_map)
        shape = stage.detail_map.shape
        if abs(shape[1] * stage.width / (shape[2] * stage.height) - 1) > LARGEST_ASPECT_ERROR:
            raise bad_input(
                node, "detail_map", f"{shape[2]}x{shape[1]}",
                f"its shape differs from the {stage.width}x{stage.height} picture. Paint it on a picture of the same aspect ratio",
            )  # fmt: skip
    host = comfy.samplers.KSampler(model, stage.steps, "cpu", stage.sampler_name, stage.scheduler, 1.0, model.model_options)
    sigmas = stage_sigmas(host.sigmas, sigma_table(model.get_model_object("model_sampling")), stage.denoise)
    if len(sigmas) < 2:
        raise bad_input(
            node, "denoise", stage.denoise, f"no step of the {stage.steps}-step schedule is that late. Raise denoise or steps"
        )
    return sigmas


def require_detail_map(node: str, detail_map: torch.Tensor) -> None:
    """Refuse what is not a map of finite α."""
    if detail_map.ndim != 3 or not torch.isfinite(detail_map).all():
        raise bad_input(
            node,
            "detail_map",
            list(detail_map.shape),
            "it must hold one finite number per pixel. Make it with FreeScale Region Detail",
        )


def stage_enlargement(model: ModelPatcher, stage: Stage) -> Enlargement | None:
    """How far the stage's picture exceeds the native size that the model's patches were given, or its family's."""
    cells = stage.height // LATENT_CELL, stage.width // LATENT_CELL
    return latent_enlargement(model.model, remembered_native_size(model), *cells)


def run_stage(
    node: str,
    model: ModelPatcher,
    positive: list,
    negative: list,
    vae: Any,
    stage: Stage,
    latent: dict | None,
    image: torch.Tensor | None,
    say: Say = lambda text: None,
) -> tuple[torch.Tensor, dict]:
    """The enlarged picture [B, H, W, 3] and its LATENT; `image`, or else `latent`, is the picture before.

    `say` shows what the stage takes and how long it still lasts.
    Raises ValueError as `require_plan` does, ComfyUI's own out-of-memory error with what to do about it, and everything
    else that sampling raises, interrupts among them, as it is.
    """
    try:
        return _run_stage(node, model, positive, negative, vae, stage, latent, image, say)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        # raised anew below, where the first error no longer keeps the picture's tensors alive
    raise comfy.model_management.OOM_EXCEPTION(
        f"{node} › stages = '{stage.width}x{stage.height}': there is not enough memory for this stage. What helps, in this order: "
        "one picture instead of a batch, vae_tiling = always, a smaller stage, starting ComfyUI with --lowvram"
    )


def _run_stage(node, model, positive, negative, vae, stage, latent, image, say) -> tuple[torch.Tensor, dict]:
    sigmas = require_plan(node, model, stage)
    steps, size = len(sigmas) - 1, stage_enlargement(model, stage)
    batch = len(latent["samples"] if image is None else image)
    memory = in_words(least_memory(model, batch, stage.height, stage.width))
    rests = "" if size else " (about the model's native size: Scale Fusion and dilation rest)"
    say(f"{steps} steps, at least {memory} beside the model{rests}")
    reference = _reference(vae, stage, latent, image)
    carried = {k: v for k, v in (latent or {}).items() if k in ("noise_mask", "batch_index")}
    noise = comfy.sample.prepare_noise(reference, stage.seed, carried.get("batch_index"))
    sampler = BlendSampler(comfy.samplers.sampler_object(stage.sampler_name), stage.detail, stage.detail_map)
    positive, negative = (pin_size(conditioning, size.native) if size else conditioning for conditioning in (positive, negative))
    callback = with_time_left(latent_preview.prepare_callback(model, steps), steps, say)
    samples = comfy.sample.sample_custom(
        model, noise, stage.cfg, sampler, sigmas, positive, negative, reference,
        noise_mask=carried.get("noise_mask"), callback=callback, disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED, seed=stage.seed,
    )  # fmt: skip
    return pictures.decode(vae, samples, stage.vae_tiling), {**carried, "samples": samples}


def _reference(vae: Any, stage: Stage, latent, image) -> torch.Tensor:
    """z: the picture before, given as a latent or an image or both, at this stage's size, as a latent."""
    if stage.resize_in == "latent":
        samples = latent["samples"] if latent else pictures.encode(vae, image[..., :3], stage.vae_tiling)
        return pictures.resize_latent(samples, stage.height, stage.width)
    if image is None:
        image = pictures.decode(vae, latent["samples"], stage.vae_tiling)
    return pictures.encode(vae, pictures.resize_image(image, stage.height, stage.width), stage.vae_tiling)


def pin_size(conditioning: list, native: tuple[int, int]) -> list:
    """SDXL's size conditioning at the native picture, where the prompt does not set it: ComfyUI would take the target's."""
    height, width = native
    return [[tokens, {"width": width, "height": height, **values}] for tokens, values in conditioning]
