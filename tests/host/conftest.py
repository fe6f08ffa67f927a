"""A real ComfyUI model of SDXL's structure, tiny and random, and the means to run it."""

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.supported_models
import pytest
import torch

torch.set_num_threads(1)  # tensors this small only wait for a second thread

NATIVE = 128  # px: small enough that an enlarged picture is still quick

# SDXL's block numbers. FreeU needs the widths 4× and 2× model_channels to exist, GroupNorm 32 channels.
UNET = dict(
    image_size=32, in_channels=4, out_channels=4, model_channels=32, num_res_blocks=[2, 2, 2], channel_mult=[1, 2, 4],
    transformer_depth=[0, 0, 1, 1, 1, 1], transformer_depth_output=[0, 0, 0, 1, 1, 1, 1, 1, 1], transformer_depth_middle=1,
    num_heads=-1, num_head_channels=16, context_dim=32, adm_in_channels=16 + 6 * 256, num_classes="sequential",
    use_spatial_transformer=True, use_linear_in_transformer=True, legacy=False,
)  # fmt: skip


class TinySDXL(comfy.supported_models.SDXL):
    unet_config: dict = {}
    unet_extra_config: dict = {}
    freescale_native = NATIVE


@pytest.fixture(autouse=True)
def inference_mode():
    """As the host runs every node."""
    with torch.inference_mode():
        yield


def fill(module, seed):
    """ComfyUI's layers leave their weights as they find the memory: give every parameter a value."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            noise /= parameter[0].numel() ** 0.5  # keeps the size of activations
        elif "norm" in name or name.endswith(("layers.0.weight", "out.0.weight")):
            noise = float(name.endswith("weight")) + 0.1 * noise
        else:
            noise *= 0.1
        parameter.data.copy_(noise)


def build(unet):
    config = TinySDXL(unet)
    config.set_inference_dtype(torch.float32, None)
    base = config.get_model({}, device="cpu")
    fill(base, 1)
    base.eval().requires_grad_(False)
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(base, device, comfy.model_management.unet_offload_device())


@pytest.fixture(scope="session")
def model():
    """A MODEL that every test shares: whatever changes it makes the other tests fail."""
    return build(UNET)


@pytest.fixture(scope="session")
def sketch():
    """A MODEL of one level, where only the sampling around it matters."""
    return build(
        {**UNET, "num_res_blocks": [1], "channel_mult": [1], "transformer_depth": [0], "transformer_depth_output": [0, 0]}
    )


def conditioning(seed, **values):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, 7, 32, generator=generator), {"pooled_output": torch.randn(1, 16, generator=generator), **values}]]


@pytest.fixture(scope="session")
def prompts():
    return conditioning(1), conditioning(2)


@pytest.fixture(scope="session")
def run(prompts):
    """Sample a MODEL with the host's own function: run(model, (h, w) of the latent, …) → latent."""

    def sample(model, size, steps=2, sampler=None, sigmas=None, cfg=3.0, batch=1, seed=5, noise=None, **options):
        generator = torch.Generator().manual_seed(9)
        latent = torch.randn(batch, 4, *size, generator=generator)
        noise = comfy.sample.prepare_noise(latent, seed) if noise is None else noise
        if sigmas is None:
            sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)
        sampler = sampler or comfy.samplers.sampler_object("euler")
        return comfy.sample.sample_custom(
            model, noise, cfg, sampler, sigmas, *prompts, latent, seed=seed, disable_pbar=True, **options
        )

    return sample
