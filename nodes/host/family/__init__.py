"""What a MODEL is to the pack: `family_of` answers, and nothing else in the pack tells models apart."""

from functools import partial
from typing import Any, cast

import comfy.utils
import torch
from comfy.latent_formats import LatentFormat
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher

from ..errors import bad_input
from .base import AttentionLayer, Family, Grid
from .model_sampling import VarianceExploding, adds_noise
from .unet import CELL, OTHER_TASKS, UNet, native_of

__all__ = ["AttentionLayer", "Family", "Grid", "family_of", "give_native_size", "noise_of", "running_family"]

NATIVE_SIZE = "freescale_native_size"  # in a model's transformer_options: what one of its patches was given
SUPPORTED = "FreeScale works with U-Net models: SDXL and its relatives, SD 1.x and SD 2.x"


def family_of(model: ModelPatcher | BaseModel, node: str = "FreeScale", native_size: int = 0) -> Family:
    """The family of a MODEL as its patches have made it, or of a model that runs.

    `native_size` is the longer side in px of a native picture, where a person says it; 0 leaves it to the MODEL's patches and its
    family. Raises ValueError, in the name of `node`, where FreeScale has no formulas for the model: transformers (FLUX, SD 3,
    Wan …), flow matching, U-Nets of other tasks.
    """
    if isinstance(model, ModelPatcher):
        base, part = model.model, model.get_model_object
        native_size = native_size or model.model_options["transformer_options"].get(NATIVE_SIZE, 0)
    else:
        base, part = model, partial(comfy.utils.get_attr, model)
    network = part("diffusion_model")
    network = getattr(network, "_orig_mod", network)  # of a compiled one
    name = type(base).__name__
    if not isinstance(network, UNetModel):
        raise bad_input(node, "model", name, f"its network is {type(network).__name__}, not a U-Net. {SUPPORTED}")
    if isinstance(base, OTHER_TASKS):
        raise bad_input(node, "model", name, f"it does not make pictures from a prompt. {SUPPORTED}")
    native, latents = _with_longer_side(native_of(base), native_size), cast(LatentFormat, part("latent_format"))
    return UNet(base, network, noise_of(part("model_sampling"), node), native, latents.latent_channels, CELL, patch=1)


def running_family(base: BaseModel, options: dict, native_size: int = 0) -> Family:
    """The family of the model that runs with these transformer_options; what the asking node itself was given comes first."""
    return family_of(base, native_size=native_size or options.get(NATIVE_SIZE, 0))


def noise_of(sampling: Any, node: str) -> VarianceExploding:
    """The law of noise of a MODEL's model_sampling; ValueError, in the name of `node`, where the blend has none for it."""
    if not adds_noise(sampling):
        raise bad_input(
            node, "model", "flow matching", f"it is a flow-matching model. {SUPPORTED}, with eps, v or EDM prediction"
        )
    if not isinstance(getattr(sampling, "sigmas", None), torch.Tensor):
        raise bad_input(node, "model", type(sampling).__name__, f"it has no table of noise levels. {SUPPORTED}")
    return VarianceExploding(sampling)


def give_native_size(patched: ModelPatcher, native_size: int) -> None:
    """Tell a clone, and so all of its patches, the native size that one of them was given: px of the longer side, 0 for none."""
    if native_size:
        patched.model_options["transformer_options"] = {**patched.model_options["transformer_options"], NATIVE_SIZE: native_size}


def _with_longer_side(native: tuple[int, int], side: int) -> tuple[int, int]:
    """A native picture (height, width) px at a longer side that a person has given, or as it is for 0."""
    scale = side / max(native) if side else 1
    return round(native[0] * scale), round(native[1] * scale)
