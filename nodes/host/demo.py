"""The embedded demo model as ComfyUI's own MODEL and VAE classes."""

import hashlib
import json
from pathlib import Path

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
    path = FOLDER / "model.safetensors"
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != _record()["sha256"]:
        raise RuntimeError(f"FreeScale Demo Model: {path.name} is damaged. Install the pack again")
    weights = {k: v.float() for k, v in safetensors.torch.load(data).items()}

    config = _DemoConfig(UNET)
    config.set_inference_dtype(torch.float32, None)
    offload = comfy.model_management.unet_offload_device()
    model = config.get_model({}, device=offload)
    model.diffusion_model.load_state_dict(_part(weights, "unet."))
    patcher = comfy.model_patcher.ModelPatcher(model, comfy.model_management.get_torch_device(), offload)

    vae = comfy.sd.VAE(sd=_part(weights, "vae."), dtype=torch.float32)
    vae.memory_used_encode = lambda shape, dtype: VAE_BYTES_PER_PIXEL * shape[-2] * shape[-1]
    vae.memory_used_decode = lambda shape, dtype: VAE_BYTES_PER_PIXEL * shape[-2] * shape[-1] * 64
    return patcher, vae


def _part(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _record() -> dict:
    return json.loads((FOLDER / "model.json").read_text())
