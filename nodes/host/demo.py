"""The embedded demo model as ComfyUI's own MODEL and VAE classes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import safetensors.torch
import torch

from ..demo.config import NATIVE, UNET

FOLDER = Path(__file__).parents[1] / "demo"
VAE_BYTES_PER_PIXEL = 64 * 4 * 6  # a handful of 64-channel activations at full size, float32


class _DemoLatent(comfy.latent_formats.SDXL):
    """SDXL's scale, with preview colours fitted to the demo VAE."""

    def __init__(self):
        super().__init__()
        *self.latent_rgb_factors, self.latent_rgb_factors_bias = _record()["latent_rgb"]
        self.taesd_decoder_name = None


class _DemoConfig(comfy.supported_models.SDXL):
    """SDXL in small: ComfyUI samples and conditions it as it does SDXL."""

    unet_config: dict = {}
    unet_extra_config: dict = {}
    latent_format = _DemoLatent
    memory_usage_factor = 0.1
    freescale_native = NATIVE


def load_demo_model() -> tuple[comfy.model_patcher.ModelPatcher, comfy.sd.VAE]:
    """MODEL and VAE from the weights in the pack, whose hash is checked."""
    weights = _weights()
    model, vae = _model(weights), _vae(weights)
    _tell_how_to_make(model, _model)
    _tell_how_to_make(vae.patcher, lambda weights: _vae(weights).patcher)
    return model, vae


def _tell_how_to_make(patcher: Any, make: Callable) -> None:
    """For hosts that make a model once more for each device."""
    if hasattr(patcher, "cached_patcher_init"):
        patcher.cached_patcher_init = (_once_more, (make,))


def _once_more(make: Callable, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """As the host calls it. `disable_dynamic` asks for what the model is anyway: none of dynamic VRAM."""
    return make(_weights())


def _model(weights: dict[str, torch.Tensor]) -> comfy.model_patcher.ModelPatcher:
    config = _DemoConfig(UNET)
    config.set_inference_dtype(torch.float32, None)
    offload = comfy.model_management.unet_offload_device()
    model = config.get_model({}, device=offload)
    model.diffusion_model.load_state_dict(_part(weights, "unet."))
    return comfy.model_patcher.ModelPatcher(model, comfy.model_management.get_torch_device(), offload)


def _vae(weights: dict[str, torch.Tensor]) -> comfy.sd.VAE:
    vae = comfy.sd.VAE(sd=_part(weights, "vae."), dtype=torch.float32)
    vae.memory_used_encode = lambda shape, dtype: VAE_BYTES_PER_PIXEL * shape[-2] * shape[-1]
    vae.memory_used_decode = lambda shape, dtype: VAE_BYTES_PER_PIXEL * shape[-2] * shape[-1] * 64
    return vae


def _weights() -> dict[str, torch.Tensor]:
    path = FOLDER / "model.safetensors"
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != _record()["sha256"]:
        raise RuntimeError(f"FreeScale Demo Model: {path.name} is damaged. Install the pack again")
    return {k: v.float() for k, v in safetensors.torch.load(data).items()}


def _part(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _record() -> dict:
    return json.loads((FOLDER / "model.json").read_text())
