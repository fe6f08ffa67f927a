"""Every method on clips: of modules that another pack puts into a U-Net, of SVD, and of VideoCrafter2."""

import families
import pytest
import torch
from clips import animated, draw, narrow_videocrafter
from families import FAMILIES, conditioning
from freescale.nodes.host import videocrafter
from patching import LARGE, METHODS, NATIVE

PX = 128  # their native size here


def with_modules():
    """A stand-in for AnimateDiff-Evolved's, by the host's own injection."""
    model = families.build(FAMILIES["SDXL"])
    return animated(model)[0], (conditioning(FAMILIES["SDXL"], 1), conditioning(FAMILIES["SDXL"], 2))


def svd():
    family = FAMILIES["Stable Video Diffusion"]
    return families.build(family, native=PX), (conditioning(family, 1), conditioning(family, 2))


def videocrafter2():
    model = videocrafter.load_videocrafter(narrow_videocrafter(), 28)
    model.model.model_config.freescale_native = PX
    return model, tuple([[families.random(1, 7, 24, seed=seed), {}]] for seed in (1, 2))


KINDS = {
    "Modules between an SDXL's layers, as AnimateDiff's": with_modules,
    "Stable Video Diffusion": svd,
    "VideoCrafter2": videocrafter2,
}
COLUMNS = {"Scale Fusion": "Scale Fusion", "dilation": "Restrained Dilation"}


@pytest.mark.parametrize("name", KINDS)
def test_clips(publish, name):
    """Drawn otherwise than plainly above the native size, the same again, and at the native size not at all."""
    model, prompts = KINDS[name]()
    plain, native = draw(model, prompts, LARGE), draw(model, prompts, NATIVE)
    for method, patch in METHODS.items():
        if method == "hwd":
            continue
        clip = draw(patch(model), prompts, LARGE)
        assert torch.isfinite(clip).all() and not torch.allclose(clip, plain, atol=1e-3)
        assert torch.equal(draw(patch(model), prompts, LARGE), clip)
        assert torch.equal(draw(patch(model), prompts, NATIVE), native)
        publish("Clips", name, COLUMNS.get(method, method), "✓")
