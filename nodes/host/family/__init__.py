"""What a MODEL is to the pack: `family_of` answers, and nothing else in the pack tells models apart."""

import logging
from functools import partial
from typing import Any

import comfy.utils
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher

from ..errors import bad_input
from .base import AttentionLayer, Family, Grid, inpaints_with_noise, network_of
from .model_sampling import Flow, Noise, law_of
from .transformer import Transformer
from .unet import OTHER_TASKS, UNet

__all__ = [
    "AttentionLayer",
    "Family",
    "Grid",
    "Transformer",
    "family_of",
    "give_native_size",
    "inpaints_with_noise",
    "noise_of",
    "running_family",
    "unet_of",
]

NATIVE_SIZE = "freescale_native_size"  # in a model's transformer_options: what one of its patches was given
SUPPORTED = (
    "FreeScale works with SDXL and its relatives, SD 1.x and SD 2.x, Stable Video Diffusion, and with flow-matching "
    "transformers such as FLUX, Z-Image, Qwen-Image, Wan and LTX"
)
OF_ANOTHER_PACK = (
    "another pack's own in the place of ComfyUI's, as nunchaku's quantised models and engines of TensorRT are; FreeScale does "
    "not reach its layers. Load the model by ComfyUI's own loader, or quantised as fp8 or GGUF"
)


def family_of(model: ModelPatcher, node: str = "FreeScale") -> Family:
    """The family of a MODEL as its patches have made it.

    Raises ValueError, in the name of `node`, where FreeScale has no formulas for it: networks that are neither, other tasks.
    """
    network, name = network_of(model.get_model_object), type(model.model).__name__
    if isinstance(model.model, OTHER_TASKS):
        raise bad_input(node, "model", name, f"it does not make pictures from a prompt. {SUPPORTED}")
    kind, law = UNet, noise_of(model.get_model_object("model_sampling"), node)
    if not isinstance(network, UNetModel):
        if not isinstance(law, Flow) or model.get_model_object("latent_format").latent_dimensions == 1:
            foreign = "" if type(network).__module__.startswith("comfy.") else f", {OF_ANOTHER_PACK}"
            raise bad_input(node, "model", name, f"its network is {type(network).__name__}{foreign}. {SUPPORTED}")
        kind = Transformer
    return kind.of(model.model, model.get_model_object, _given(model))


def unet_of(model: ModelPatcher, node: str) -> UNet:
    """The same for a method that is defined for U-Nets alone; ValueError, in the name of `node`, for everything else."""
    family = family_of(model, node)
    if not isinstance(family, UNet):
        problem = "it is a transformer, and this method is made of a U-Net's convolutions and levels. Use an SDXL or SD 1.x model"
        raise bad_input(node, "model", type(model.model).__name__, problem)
    return family


def running_family(kind: type[Family], base: BaseModel, options: dict, native_size: int = 0) -> Family:
    """The answers for a model of a kind that runs with these transformer_options, perhaps a copy of the one that was patched.

    The native size that the asking node itself was given comes first. Nothing is refused here: it was when it was patched.
    """
    return kind.of(base, partial(comfy.utils.get_attr, base), native_size or options.get(NATIVE_SIZE, 0))


def noise_of(sampling: Any, node: str) -> Noise:
    """The law of noise of a MODEL's model_sampling; ValueError, in the name of `node`, where the blend has none for it."""
    law = law_of(sampling)
    if law is None or not isinstance(getattr(sampling, "sigmas", None), torch.Tensor):
        problem = f"its noise is neither z + σ ε nor (1 − σ) z + σ ε over a table of levels. {SUPPORTED}"
        raise bad_input(node, "model", type(sampling).__name__, problem)
    return law(sampling)


def give_native_size(patched: ModelPatcher, native_size: int) -> None:
    """Tell a clone, and so all of its patches, the native size that one of them was given: px of the longer side, 0 for none."""
    before = _given(patched)
    if native_size and before not in (0, native_size):
        logging.warning(
            f"FreeScale: the nodes that patch this model have different native sizes, {before} and {native_size} px. Each keeps "
            f"its own, and everything else takes {native_size}. Give one of them the size and leave the others at 0."
        )
    if native_size:
        patched.model_options["transformer_options"] = {**patched.model_options["transformer_options"], NATIVE_SIZE: native_size}


def _given(model: ModelPatcher) -> int:
    return model.model_options["transformer_options"].get(NATIVE_SIZE, 0)
