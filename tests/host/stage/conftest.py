"""What the cascade's stages start from."""

import json

import comfy.sd
import pytest
import torch
from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE
from comfy.ldm.wan.vae import WanVAE
from comfy.taesd.taesd import TAESD
from families import fill
from freescale.nodes.host import pictures


@pytest.fixture(scope="module")
def small(demo):
    """A 128 px picture's latent: what any sampler before the cascade could have made."""
    pixels = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(1))
    return {"samples": demo[3].encode(pictures.resize_image(pixels, 128, 128).clamp(0, 1))}


@pytest.fixture(scope="module")
def vae_of():
    """vae_of(kind): a real VAE for its latents."""

    def build(kind):
        if kind.cell == 32:
            blocks = [["res_x", 1], *[["compress_all", 1], ["res_x", 1]] * 3]
            config = dict(dims=3, latent_channels=kind.channels, blocks=blocks, norm_layer="pixel_norm", patch_size=4,
                          latent_log_var="uniform")  # fmt: skip
            network = VideoVAE(config=config)
            fill(network, 5)
            sd = {name: torch.ones_like(x) if "std-of" in name else torch.zeros_like(x) if "mean-of" in name else x
                  for name, x in network.state_dict().items()}  # fmt: skip
            return comfy.sd.VAE(sd=sd, dtype=torch.float32, metadata={"config": json.dumps({"vae": config})})
        if kind.frames:
            network = WanVAE(dim=8, z_dim=kind.channels, temperal_downsample=[False, True, True])
            fill(network, 5)
            return comfy.sd.VAE(sd=network.state_dict(), dtype=torch.float32)
        network = TAESD(latent_channels=kind.channels)
        fill(network, 5)
        return comfy.sd.VAE(sd=network.state_dict(), dtype=torch.float32)

    return build
