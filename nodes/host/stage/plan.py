"""What a stage is asked for, and whether it can be done: checked before any work starts."""

from dataclasses import dataclass
from math import prod
from typing import Any, cast

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher

from ....freescale_core.schedule import stage_sigmas
from ..errors import bad_input
from ..family import Family, family_of
from .samplers import require_blendable

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
    color_fix: bool = False


def require_source(node: str, model: ModelPatcher, vae: Any, latent: dict | None, image: torch.Tensor | None) -> tuple[int, int]:
    """(height, width) px of a cascade's input, a LATENT or an IMAGE [B, H, W, C].

    Raises ValueError where the model, the VAE, the latent and the picture do not go together.
    """
    family = family_of(model, node)
    channels = family.latent_channels
    if getattr(vae, "latent_channels", channels) != channels:
        problem = f"the model's latents have {channels}. Load the VAE that belongs to the checkpoint"
        raise bad_input(node, "vae", f"{vae.latent_channels} channels", problem)
    if family.films and getattr(vae, "latent_dim", 2) != 3:
        raise bad_input(node, "vae", "one of pictures", "the model draws films. Load the VAE that belongs to it")
    if image is not None and latent is None:
        height, width = image.shape[1:3]
        if min(height, width) < family.side_step:
            problem = f"a side has less than {family.side_step} px. Take a larger picture"
            raise bad_input(node, "image", f"{width}x{height}", problem)
        if family.films:
            one, two, fitting = map(vae.upscale_ratio[0], (1, 2, frames_at_once(family, vae, None, image)))
            if len(image) != fitting:
                lengths = f"a film of this model has {one}, {two}, {2 * two - one} … frames"
                problem = f"{lengths}. Leave the last {len(image) - fitting} out, or give pictures one at a time"
                raise bad_input(node, "image", f"{len(image)} frames", problem)
        return height, width
    require_one_source(node, latent is not None, image is not None)
    latent = cast(dict, latent)
    if latent["samples"].is_nested and not family.hears:
        problem = "the model draws no sound. Wire the video latent of LTXV Separate AV Latent"
        raise bad_input(node, "latent_image", "a film with its sound", problem)
    require_latent(node, "latent_image", family, family.as_latent(latent["samples"]))
    return family.picture_size(*latent["samples"].shape[-2:])


def require_one_source(node: str, latent: bool, image: bool) -> None:
    """Refuse a cascade with both kinds of input or with neither, by which of them there are."""
    if latent == image:
        problem = "wire exactly one of them: the LATENT of a sampler, or an IMAGE to enlarge"
        if latent:
            problem += (
                ". Nodes that fill free inputs by type, as Use Everywhere does, fill both: restrict them to the name of the one "
                "that you want, or let this node reject their links"
            )
        raise bad_input(node, "latent_image, image", "both" if latent else "none", problem)


def frames_at_once(family: Family, vae: Any, latent: dict | None, image: torch.Tensor | None) -> int:
    """How many pictures, or frames of films as a latent has them, a call works on: of a LATENT, or else of an IMAGE."""
    if image is not None and latent is None:
        return vae.downscale_ratio[0](len(image)) if family.films else len(image)
    batch, _, *frames = family.as_latent(cast(dict, latent)["samples"]).shape[:-2]
    return prod((batch, *frames))


def require_latent(node: str, name: str, family: Family, samples: torch.Tensor) -> None:
    """Refuse a latent that is not for this model."""
    shape = family.latent_shape
    if samples.ndim != len(shape) or any(isinstance(n, int) and n != own for n, own in zip(shape, samples.shape)):
        problem = f"the model takes latents of shape [{', '.join(map(str, shape))}]. Use a latent made for this model"
        raise bad_input(node, name, list(samples.shape), problem)


def require_aspect(node: str, detail_map: torch.Tensor, height: int, width: int) -> None:
    """Refuse a detail map [B, H, W] that a picture, or its latent, of this size would stretch."""
    _, own_height, own_width = detail_map.shape
    if abs(own_height * width / (own_width * height) - 1) > LARGEST_ASPECT_ERROR:
        problem = (
            f"its width is {own_width / own_height:.2f} times its height, and that of the picture {width / height:.2f} times. "
            "Paint it on a picture of the same aspect ratio"
        )
        raise bad_input(node, "detail_map", f"{own_width}x{own_height}", problem)


def require_sampler(node: str, name: str) -> None:
    """Refuse a sampler of the host's by whose name no blend is defined."""
    require_blendable(comfy.samplers.sampler_object(name), node, "sampler_name")


def plan_sigmas(node: str, model: ModelPatcher, stage: Stage) -> torch.Tensor:
    """The stage's sigmas [n + 1]; ValueError where its sampler, schedule or detail map cannot be used."""
    require_sampler(node, stage.sampler_name)
    if stage.detail_map is not None:
        require_aspect(node, stage.detail_map, stage.height, stage.width)
    family = family_of(model, node)
    if family.longest_side and max(stage.height, stage.width) > family.longest_side:
        problem = f"this model has places for {family.longest_side} px a side, and no more. Make the last stage smaller"
        raise bad_input(node, "stages", f"{stage.width}x{stage.height}", problem)
    host = comfy.samplers.KSampler(model, stage.steps, "cpu", stage.sampler_name, stage.scheduler, 1.0, model.model_options)
    sigmas = stage_sigmas(host.sigmas, family.noise.timestep, stage.denoise)
    if len(sigmas) < 2:
        problem = f"no step of the {stage.steps}-step schedule is that late. Raise denoise or steps"
        raise bad_input(node, "denoise", stage.denoise, problem)
    return sigmas
