"""The embedded demo model as ComfyUI's own MODEL and VAE classes."""

import hashlib
import json
from math import log
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.ldm.flux.model
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import safetensors.torch
import torch

from ..demo.config import FLUX, NATIVE, TRANSFORMER, U_NET, UNET
from .copies import tell_how_to_make
from .errors import bad_input

FLUX_ASKS_FOR = comfy.ldm.flux.model.FluxParams.__annotations__
HAS_TEXT_ALONE = "global_modulation" in FLUX_ASKS_FOR  # a FLUX without pooled vector: hosts that know FLUX.2
FOLDER = Path(__file__).parents[1] / "demo"
VAE_BYTES_PER_PIXEL = 64 * 4 * 6  # a handful of 64-channel activations at full size, float32


class _DemoLatent(comfy.latent_formats.SDXL):
    """SDXL's scale, with preview colours fitted to the demo VAE."""

    def __init__(self):
        super().__init__()
        *self.latent_rgb_factors, self.latent_rgb_factors_bias = _record("model")["latent_rgb"]
        self.taesd_decoder_name = None


class _DemoUNet(comfy.supported_models.SDXL):
    """SDXL in small: ComfyUI samples and conditions it as it does SDXL."""

    unet_config: dict = {}
    unet_extra_config: dict = {}
    latent_format = _DemoLatent
    memory_usage_factor = 0.1
    freescale_native = NATIVE


class _DemoTransformer(comfy.supported_models.Flux):
    """FLUX in small, with the U-Net's latents."""

    unet_config: dict = {}
    unet_extra_config: dict = {}
    sampling_settings = {"shift": log(2)}
    latent_format = _DemoLatent
    memory_usage_factor = 0.1
    freescale_native = NATIVE


def load_demo_model(network: str = U_NET) -> tuple[comfy.model_patcher.ModelPatcher, comfy.sd.VAE]:
    """MODEL, with one of the networks, and VAE from the weights in the pack, whose hashes are checked."""
    make = _transformer if network == FLUX else _unet
    model, vae = make(), _vae()
    tell_how_to_make(model, make)
    tell_how_to_make(vae.patcher, lambda: _vae().patcher)
    return model, vae


def _unet() -> comfy.model_patcher.ModelPatcher:
    return _patcher(_DemoUNet(UNET), _part(_weights("model"), "unet."))


def _transformer() -> comfy.model_patcher.ModelPatcher:
    if not HAS_TEXT_ALONE:
        problem = "this ComfyUI cannot build it. Choose U-Net, or update ComfyUI to 0.3.75 or newer"
        raise bad_input("FreeScale Demo Model", "network", FLUX, problem)
    structure = {name: value for name, value in TRANSFORMER.items() if name in FLUX_ASKS_FOR}
    return _patcher(_DemoTransformer({"image_model": "flux", **structure}), _weights("transformer"))


def _patcher(config: Any, weights: dict[str, torch.Tensor]) -> comfy.model_patcher.ModelPatcher:
    config.set_inference_dtype(torch.float32, None)
    offload = comfy.model_management.unet_offload_device()
    model = config.get_model({}, device=offload)
    model.diffusion_model.load_state_dict(config.process_unet_state_dict(weights))  # younger hosts name FLUX's norms otherwise
    return comfy.model_patcher.ModelPatcher(model, comfy.model_management.get_torch_device(), offload)


def _vae() -> comfy.sd.VAE:
    vae = comfy.sd.VAE(sd=_part(_weights("model"), "vae."), dtype=torch.float32)
    vae.memory_used_encode = lambda shape, dtype: VAE_BYTES_PER_PIXEL * shape[-2] * shape[-1]
    vae.memory_used_decode = lambda shape, dtype: VAE_BYTES_PER_PIXEL * shape[-2] * shape[-1] * 64
    return vae


def _weights(name: str) -> dict[str, torch.Tensor]:
    """Of a file of the pack, in float32; whole numbers are to be scaled (tools/demo_model/pack.py)."""
    path = FOLDER / f"{name}.safetensors"
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != _record(name)["sha256"]:
        raise RuntimeError(f"FreeScale Demo Model: {path.name} is damaged. Install the pack again")
    stored = {k: v.float() for k, v in safetensors.torch.load(data).items()}
    scales = {k: stored.pop(k) for k in list(stored) if k.endswith(".weight.scale")}
    return {k: v * scales.get(f"{k}.scale", 1) for k, v in stored.items()}


def _part(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _record(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())
