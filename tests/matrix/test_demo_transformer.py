"""The fault and the cure on the transformer that comes with the pack: without Scale Fusion it draws nothing at 4×."""

import comfy.sample
import comfy.samplers
import numpy as np
import pytest
import torch
from dits import fusion
from figures import fidelity, off_colour, parts
from freescale.nodes.cascade.cascade import SelfCascadeUpscale
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from PIL import Image

ONE = (2, 1)  # pupils and mouths of one whole character
STEPS, SEEDS = 12, (1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long))
SETTINGS = dict(
    steps=STEPS, cfg=4.0, sampler_name="euler", scheduler="simple", denoise=0.75, detail=2.0, resize_in="pixels", vae_tiling="auto",
    color_fix=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def demo():
    """MODEL, positive, negative, VAE."""
    return FreeScaleDemoModel.execute("no", 0.58, "portrait", "transformer").args


def image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray((255 * pixels[0].clamp(0, 1)).round().byte().numpy())


def direct(demo, seed, side):
    """(latent, picture) as an ordinary sampler draws them."""
    model, positive, negative, vae = demo
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    latent = torch.zeros(1, 4, side // 8, side // 8)
    samples = comfy.sample.sample_custom(
        model, comfy.sample.prepare_noise(latent, seed), 4.0, comfy.samplers.sampler_object("euler"), sigmas, positive, negative, latent,
        seed=seed, disable_pbar=True,
    )  # fmt: skip
    return {"samples": samples}, image(vae.decode(samples))


@pytest.mark.parametrize("seed", SEEDS)
def test_scale_fusion_keeps_the_picture_that_the_cascade_alone_loses(demo, seed):
    """Counted, and compared with the native picture: a background of another colour costs 6 dB and more.

    As in the template, `color_fix` is on; it does not give the cascade alone its picture back.
    """
    latent, native = direct(demo, seed, 256)
    assert parts(native.resize((512, 512), Image.Resampling.LANCZOS)) == ONE
    assert parts(direct(demo, seed, 512)[1]) != ONE
    pictures = {}
    for name, model in (("plain", demo[0]), ("fused", fusion(demo[0], preset="Fast"))):
        wired = dict(zip(("model", "positive", "negative", "vae"), (model, *demo[1:])))
        made = SelfCascadeUpscale.execute(**wired, stages="2x, 2x", seed=seed, latent_image=latent, **SETTINGS)
        pictures[name] = image(made.args[0])
    assert all(picture.size == (1024, 1024) for picture in pictures.values())
    assert parts(pictures["plain"]) != ONE and parts(pictures["fused"]) == ONE
    kept, off = ({name: of(picture, native) for name, picture in pictures.items()} for of in (fidelity, off_colour))
    for name in pictures:
        print(f"seed {seed}, {name}: {kept[name]:.1f} dB, {off[name]:.0%} of the flat areas of another colour")
    assert kept["fused"] > 22 and kept["fused"] - kept["plain"] > 6 and off["fused"] < 0.05
    assert np.asarray(pictures["fused"]).std() > 20
