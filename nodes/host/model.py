"""What a ComfyUI MODEL is to us: a U-Net that removes noise, its native size, noise table and layers."""

import re
from collections.abc import Callable
from typing import Any

import comfy.model_base
import comfy.model_sampling
import numpy as np
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher

from ...freescale_core.dilation import Level, levels
from ...freescale_core.geometry import LATENT_CELL, Enlargement, enlargement
from ...freescale_core.schedule import paper_step, timestep
from .errors import bad_input

NATIVE_SIZE = "freescale_native_size"  # in a model's transformer_options: what its patches were told
SUPPORTED = "FreeScale works with U-Net models: SDXL and its relatives, SD 1.x and SD 2.x"
# U-Nets that make video, other views, larger pictures or depth: nothing that FreeScale's windows or noise are for.
OTHER_TASKS = tuple(
    getattr(comfy.model_base, name)
    for name in ("SVD_img2vid", "Stable_Zero123", "SD_X4Upscaler", "Lotus")
    if hasattr(comfy.model_base, name)
)


def require_unet(model: ModelPatcher, node: str) -> None:
    """Refuse what FreeScale has no formulas for: transformers (FLUX, SD3, Wan …), flow matching, U-Nets of other tasks."""
    network = model.get_model_object("diffusion_model")
    name = type(model.model).__name__
    if not isinstance(network, UNetModel):
        raise bad_input(node, "model", name, f"its network is {type(network).__name__}, not a U-Net. {SUPPORTED}")
    if isinstance(model.model, OTHER_TASKS):
        raise bad_input(node, "model", name, f"it does not make pictures from a prompt. {SUPPORTED}")
    require_noise_model(model.get_model_object("model_sampling"), node)


def require_noise_model(model_sampling: Any, node: str) -> None:
    """Refuse models whose noise is not added as z + σ ε, which is what the blend does."""
    z, noise, sigma = torch.tensor([[3.0]]), torch.tensor([[5.0]]), torch.tensor([0.5])
    if float(model_sampling.noise_scaling(sigma, noise.clone(), z)) != 5.5:
        raise bad_input(
            node, "model", "flow matching", f"it is a flow-matching model. {SUPPORTED}, with eps, v or EDM prediction"
        )
    if not isinstance(getattr(model_sampling, "sigmas", None), torch.Tensor):
        raise bad_input(node, "model", type(model_sampling).__name__, f"it has no table of noise levels. {SUPPORTED}")


def native_side(base: comfy.model_base.BaseModel) -> int:
    """Side in px of the square pictures that this family was trained on."""
    config = base.model_config
    if native := getattr(config, "freescale_native", None):
        return native
    if isinstance(base, (comfy.model_base.SDXL, comfy.model_base.SDXLRefiner)):
        return 1024
    v_prediction = base.model_type == comfy.model_base.ModelType.V_PREDICTION
    return 768 if v_prediction and config.unet_config.get("context_dim") == 1024 else 512


def remember_native_size(patched: ModelPatcher, native_size: int) -> None:
    """Let whoever samples this clone know the native size that its patches were given."""
    if native_size:
        patched.model_options["transformer_options"] = {**patched.model_options["transformer_options"], NATIVE_SIZE: native_size}


def remembered_native_size(model: ModelPatcher) -> int:
    """The native size that a patch of this model was given, or 0."""
    return model.model_options["transformer_options"].get(NATIVE_SIZE, 0)


def latent_enlargement(base: comfy.model_base.BaseModel, native_size: int, h: int, w: int) -> Enlargement | None:
    """The enlargement of a latent of h × w, or None; `native_size` 0 takes the family's, else it is the longer side."""
    native = native_size or native_side(base)
    return enlargement(h * LATENT_CELL, w * LATENT_CELL, native, longer_side=native_size > 0)


def percent_range(base: comfy.model_base.BaseModel, start_percent: float, end_percent: float) -> tuple[float, float]:
    """(highest, lowest) σ of a part of the sampling, for the noise table that the running model has now."""
    sampling: Any = base.model_sampling
    return sampling.percent_to_sigma(start_percent), sampling.percent_to_sigma(end_percent)


def sigma_table(model_sampling: Any) -> np.ndarray:
    """The model's noise level at each training timestep, ascending."""
    return model_sampling.sigmas.detach().cpu().double().numpy()


def running_step(base: comfy.model_base.BaseModel, sigma: float) -> int:
    """The step of the papers' 50 that a noise level belongs to."""
    return paper_step(timestep(sigma, sigma_table(base.model_sampling)))


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
        name: (module.stride[0], module.stride[1])
        for name, module in model.get_model_object("diffusion_model").named_modules()
        if pattern.match(name) and isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3)
    }


def convolution_levels(model: ModelPatcher, node: str) -> tuple[dict[Level, list[str]], int]:
    """(the convolutions of each level, how many levels); refuses a U-Net that is built like neither SDXL nor SD 1.x / 2.x."""
    found = levels(convolutions(model))
    count = 1 + sum(name.endswith(".op") for names in found.values() for name in names)
    if count not in (3, 4):
        raise bad_input(
            node,
            "model",
            type(model.model).__name__,
            f"its U-Net has {count} levels; the method is defined for SDXL (3) and SD 1.x / 2.x (4). Take such a model",
        )
    return found, count


def require_own_rows(options: dict, node: str) -> None:
    """Refuse GLIGEN where a call gets more rows than ComfyUI batched: its boxes are of those rows, and would not fit."""
    if options.get("patches", {}).get("middle_patch"):
        raise bad_input(
            node,
            "model",
            "with GLIGEN",
            "its boxes are of whole pictures, and this method draws more or other ones. Remove GLIGEN from this stage's prompts",
        )


def each_row(value: Any, batch: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`value` with `change` made to every tensor of `batch` rows in it: conditionings follow the latents' batch."""
    if isinstance(value, torch.Tensor):
        return change(value) if value.ndim and value.shape[0] == batch else value
    if isinstance(value, dict):
        return {k: each_row(v, batch, change) for k, v in value.items()}
    return [each_row(v, batch, change) for v in value] if isinstance(value, list) else value
