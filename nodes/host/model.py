"""What a ComfyUI MODEL is to us: a U-Net with eps or v prediction, its native size, noise table and layers."""

import re
from collections.abc import Callable

import comfy.model_base
import comfy.model_sampling
import numpy as np
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher

from ...freescale_core.geometry import LATENT_CELL, Enlargement, enlargement
from .errors import bad_input

NATIVE_SIZE = "freescale_native_size"  # in a model's transformer_options: what its patches were told
SUPPORTED = "FreeScale works with U-Net models: SDXL and its relatives, SD 1.x and SD 2.x"


def require_unet(model: ModelPatcher, node: str) -> None:
    """Refuse what FreeScale has no formulas for: transformers (FLUX, SD3, Wan …), flow matching, cascades."""
    network = model.get_model_object("diffusion_model")
    name = type(model.model).__name__
    if not isinstance(network, UNetModel):
        raise bad_input(node, "model", name, f"its network is {type(network).__name__}, not a U-Net. {SUPPORTED}")
    require_noise_model(model.get_model_object("model_sampling"), node)


def require_noise_model(model_sampling: torch.nn.Module, node: str) -> None:
    """Refuse models whose noise is not added as z + σ ε, which is what the blend does."""
    if isinstance(model_sampling, comfy.model_sampling.CONST):
        raise bad_input(node, "model", "flow matching", f"it is a flow-matching model. {SUPPORTED}, with eps or v prediction")
    if not isinstance(getattr(model_sampling, "sigmas", None), torch.Tensor):
        raise bad_input(node, "model", type(model_sampling).__name__, f"it has no table of noise levels. {SUPPORTED}")


def native_side(model: ModelPatcher) -> int:
    """Side in px of the square pictures that this family was trained on."""
    config = model.model.model_config
    if native := getattr(config, "freescale_native", None):
        return native
    if isinstance(model.model, (comfy.model_base.SDXL, comfy.model_base.SDXLRefiner)):
        return 1024
    v_prediction = isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.V_PREDICTION)
    return 768 if v_prediction and config.unet_config.get("context_dim") == 1024 else 512


def remember_native_size(patched: ModelPatcher, native_size: int) -> None:
    """Let whoever samples this clone know the native size that its patches were given."""
    if native_size:
        patched.model_options["transformer_options"] = {**patched.model_options["transformer_options"], NATIVE_SIZE: native_size}


def remembered_native_size(model: ModelPatcher) -> int:
    """The native size that a patch of this model was given, or 0."""
    return model.model_options["transformer_options"].get(NATIVE_SIZE, 0)


def picture_enlargement(model: ModelPatcher, native_size: int) -> Callable[[int, int], Enlargement | None]:
    """(h, w of a latent) → its enlargement or None; `native_size` 0 takes the family's, else it is the longer side."""
    native = native_size or native_side(model)

    def of_latent(h: int, w: int) -> Enlargement | None:
        return enlargement(h * LATENT_CELL, w * LATENT_CELL, native, longer_side=native_size > 0)

    return of_latent


def sigma_table(model_sampling: torch.nn.Module) -> np.ndarray:
    """The model's noise level at each training timestep, ascending."""
    return model_sampling.sigmas.detach().cpu().double().numpy()


def running_sigma(transformer_options: dict) -> float | None:
    """The noise level of the U-Net call that these options belong to."""
    sigmas = transformer_options.get("sigmas")
    return None if sigmas is None else float(sigmas.flatten()[0])


def attention_layers(model: ModelPatcher) -> list[tuple[str, int, int]]:
    """(section, block, index in the transformer) of every spatial self-attention."""
    pattern = re.compile(r"(input|middle|output)_blocks?\.(\d+)\..*?transformer_blocks\.(\d+)$")
    layers = []
    for name, module in model.get_model_object("diffusion_model").named_modules():
        match = pattern.match(name)
        if match and isinstance(module, BasicTransformerBlock):
            section, block, index = match.groups()
            layers.append((section, 0 if section == "middle" else int(block), int(index)))
    return layers


def convolutions(model: ModelPatcher) -> dict[str, tuple[int, int]]:
    """Name → stride of the 3×3 convolutions inside the U-Net's blocks (not its first and last)."""
    pattern = re.compile(r"(input|middle|output)_blocks?\.\d+\..*(in_layers\.2|out_layers\.3|op|conv)$")
    return {
        name: tuple(module.stride)
        for name, module in model.get_model_object("diffusion_model").named_modules()
        if pattern.match(name) and isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3)
    }
