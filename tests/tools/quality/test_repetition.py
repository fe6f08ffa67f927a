"""The fault and its cure, on the demo model: above its native size it repeats the character, in a cascade it does not."""

import os
from pathlib import Path

import comfy.sample
import pytest
import torch
from figures import parts
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from freescale.nodes.host.stage.plan import Stage
from freescale.nodes.host.stage.run import run_stage
from freescale.nodes.patches.restrained_dilation import RestrainedDilation
from freescale.nodes.patches.scale_fusion import ScaleFusionAttentionPatch
from PIL import Image

SEEDS, STEPS, CFG = (11, 12, 13, 14), 25, 4.0


def sample(model, positive, negative, seed: int, side: int) -> torch.Tensor:
    """A latent of an ordinary sampling, `side` cells a side."""
    empty = torch.zeros(1, 4, side, side)
    noise = comfy.sample.prepare_noise(empty, seed)
    return comfy.sample.sample(model, noise, STEPS, CFG, "euler", "ddim_uniform", positive, negative, empty, seed=seed)


def as_picture(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image[0].clamp(0, 1) * 255).round().byte().numpy())


@pytest.fixture(scope="module")
def pictures():
    """Per seed: native picture, direct sampling at 2×, FreeScale at 2×."""
    rows = []
    with torch.inference_mode():
        model, positive, negative, vae = FreeScaleDemoModel.execute("no", 0.1, "portrait").args
        [patched] = ScaleFusionAttentionPatch.execute(model, "full", "hw", True, 0, 0, 0.0, 1.0, "all").args
        [patched] = RestrainedDilation.execute(patched, "FreeScale", 0.0, 0.7, "down, middle", 0).args
        for seed in SEEDS:
            base = sample(model, positive, negative, seed, 32)
            direct = vae.decode(sample(model, positive, negative, seed, 64))
            stage = Stage(512, 512, seed, STEPS, CFG, "euler", "ddim_uniform", 0.7, 2.0, "pixels", "auto")
            enlarged, _ = run_stage("node", patched, positive, negative, vae, stage, {"samples": base}, None)
            rows.append([as_picture(image) for image in (vae.decode(base), direct, enlarged)])
    if folder := os.environ.get("FREESCALE_ARTIFACTS"):
        sheet = Image.new("RGB", (3 * 512, len(rows) * 512))
        for y, row in enumerate(rows):
            for x, picture in enumerate(row):
                sheet.paste(picture.resize((512, 512)), (512 * x, 512 * y))
        Path(folder).mkdir(parents=True, exist_ok=True)
        sheet.save(Path(folder) / "repetition.png")
    return rows


def test_the_native_picture_and_freescale_have_one_character(pictures):
    for native, _, enlarged in pictures:
        assert parts(native)[0] == 2
        assert parts(enlarged)[0] == 2, "eyes"
        assert parts(enlarged)[1] == 1, "mouths"


def test_direct_sampling_repeats_it(pictures):
    repeated = [parts(direct)[0] > 2 for _, direct, _ in pictures]
    assert sum(repeated) >= len(repeated) / 2, repeated
