"""What a stage starts from, and what a model is given beside the latent, at the stage's size: as latents."""

from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor

from .. import pictures
from ..errors import bad_input
from ..family import Family
from .plan import Stage

PICTURE, MASK = "concat_latent_image", "concat_mask"  # in a prompt: beside the latent, and what of it is to be made up


def reference(family: Family, vae: Any, stage: Stage, latent: dict | None, image: Tensor | None) -> Tensor:
    """z: the picture before, given as a latent or an image or both."""
    samples = None if latent is None else latent["samples"]
    films = 1 if samples is None else len(samples)
    if stage.resize_in == "latent":
        samples = _encoded(family, vae, stage, cast(Tensor, image)[..., :3], films) if samples is None else samples
        return pictures.resize_latent(samples, *family.latent_size(stage.height, stage.width))
    image = pictures.decode(vae, cast(Tensor, samples), stage.vae_tiling) if image is None else image
    return _encoded(family, vae, stage, pictures.resize_image(image, stage.height, stage.width), films)


def with_pictures(family: Family, vae: Any, stage: Stage, *prompts: list) -> list[list]:
    """Prompts whose pictures or films beside the latent, latents [B, C, (T,) h, w], have this stage's size.

    The host would stretch the latent, and so blur the picture. It still does with what no VAE has made, or not as one film: what
    is empty, has other channels, or a mask that is neither 0 nor 1.
    """
    size = family.latent_size(stage.height, stage.width)
    enlarge = cache(partial(_beside, family, vae, stage))  # the prompts may have the same picture

    def enlarged(values: dict[str, Any]) -> dict[str, Any]:
        latent, mask = values.get(PICTURE), values.get(MASK)
        if latent is None or latent.shape[1] != family.latent_channels or tuple(latent.shape[-2:]) == size or not latent.any():
            return values
        if family.films and not (family.is_given_whole_films and _is_told_by_frames(latent, mask)):
            return values
        return {**values, PICTURE: enlarge(latent, mask)}

    return [[[tokens, enlarged(values)] for tokens, values in prompt] for prompt in prompts]


def require_enlargeable(node: str, family: Family, **prompts: list) -> None:
    """Refuse prompts that hold what the host's models take at the latent's size alone, before any work."""
    for name, prompt in prompts.items():
        for held, what in family.of_one_size.items():
            if any(values.get(held) is not None for _, values in prompt):
                problem = f"this is made for one size, and the model takes no other. {what}"
                raise bad_input(node, name, held, problem)


def _is_told_by_frames(film: Tensor, mask: Tensor | None) -> bool:
    """Whether a mask, if there is one, says of each frame that it is known or to be made up."""
    return mask is None or mask.ndim == 5 and mask.shape[2] == film.shape[2] and bool(((mask == 0) | (mask == 1)).all())


def _beside(family: Family, vae: Any, stage: Stage, latent: Tensor, unknown: Tensor | None) -> Tensor:
    """A conditioning latent enlarged as the picture that it is, of which the host would take the middle, too.

    Of films, frames that a mask [B, 1 or 4, T, h, w] has as wholly `unknown` are grey, as the nodes make them that encode
    them; and latent frames without any picture in them stay as they are.
    """
    image = pictures.decode(vae, latent, stage.vae_tiling)
    if family.films and unknown is not None:
        rows = unknown.amin((-2, -1)).expand(len(latent), 4, -1)
        frames = rows.transpose(1, 2).flatten(1)[:, 3:].flatten()  # the first of a latent's frames is one picture
        image = torch.where(frames[:, None, None, None].to(image.device) < 1, image, 0.5)
    image = pictures.resize_image(pictures.middle(image, stage.height, stage.width), stage.height, stage.width)
    made = _encoded(family, vae, stage, image, len(latent))
    if not family.films:
        return made
    one = latent[..., :1, :1]
    empty = (latent == one).all((-2, -1), keepdim=True).all(1, keepdim=True)  # [B, 1, T, 1, 1]
    return torch.where(empty.to(made.device), one.to(made), made)


def _encoded(family: Family, vae: Any, stage: Stage, image: Tensor, films: int) -> Tensor:
    return family.as_latent(pictures.encode(vae, image, stage.vae_tiling, len(image) // films if family.films else 1))
