"""Fixtures: a real ComfyUI model of SDXL's structure, tiny and random, the demo model, and the means to run them."""

import comfy.sample
import comfy.samplers
import families
import pytest
import torch
from freescale.nodes.demo.demo_model import FreeScaleDemoModel

SDXL = families.FAMILIES["SDXL"]


@pytest.fixture(autouse=True)
def inference_mode():
    """As the host runs every node."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def model():
    """A MODEL that every test shares: whatever changes it makes the other tests fail."""
    return families.build(SDXL)


@pytest.fixture(scope="session")
def sketch():
    """A MODEL of one level, where only the sampling around it matters."""
    return families.build(SDXL, num_res_blocks=[1], channel_mult=[1], transformer_depth=[0], transformer_depth_output=[0, 0])


@pytest.fixture(scope="session")
def prompts():
    return families.conditioning(SDXL, 1), families.conditioning(SDXL, 2)


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


@pytest.fixture(scope="module")
def demo():
    """MODEL, positive, negative, VAE of the pack's own node; native at 256 px."""
    return FreeScaleDemoModel.execute("yes", 0.58, "portrait").args
