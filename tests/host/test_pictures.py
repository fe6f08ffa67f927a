"""Tiles of the VAE against the whole picture."""

from pathlib import Path

import numpy as np
import torch
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from freescale.nodes.host import pictures
from PIL import Image

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "freescale.jpg"
SIDE, TILE = 416, 48  # px, and latent cells: 2 × 2 tiles with the overlap that is used


def test_tiles_meet_without_a_seam(monkeypatch):
    monkeypatch.setattr(pictures, "TILE", TILE)
    vae = FreeScaleDemoModel.execute("no", 0.1, "portrait").args[3]
    picture = torch.from_numpy(np.asarray(Image.open(PICTURE).convert("RGB").resize((SIDE, SIDE)), np.float32))[None] / 255
    samples = pictures.encode(vae, picture, "never")
    whole = pictures.decode(vae, samples, "never")
    in_tiles = {
        "decoded": pictures.decode(vae, samples, "always"),
        "encoded": pictures.decode(vae, pictures.encode(vae, picture, "always"), "never"),
    }
    for name, tiled in in_tiles.items():
        off = 255 * (tiled - whole).abs().flatten()
        mean, thousandth = off.mean(), off.quantile(0.999)
        print(f"{name} in tiles: {mean:.2f} of 255 levels off in the mean, {thousandth:.1f} at 99.9 %, {off.max():.0f} at most")
        assert 0 < mean < 0.3 and thousandth < 4
