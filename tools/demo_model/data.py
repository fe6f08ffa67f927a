"""What both networks of the demo model are trained on: drawn scenes, what a prompt says of them, and their latents."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from config import FRAMINGS, encode_conditions
from scenes import random_scene, random_view, render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from comfy.taesd.taesd import TAESD

CAPTIONS = 3  # different captions per picture
FRAMING_SHARE = (0.45, 0.3, 0.25)

Said = tuple[bool, float, str]  # hat, hue, framing


def draw(seed: int, width: int, height: int, index: int) -> tuple[np.ndarray, Said]:
    """Scene number `index`: its picture (uint8 HWC) and what a prompt would say of it."""
    rng = np.random.default_rng((seed, index))
    framing = str(rng.choice(FRAMINGS, p=FRAMING_SHARE))
    scene = random_scene(rng)
    view = random_view(rng, framing, width / height)
    return np.asarray(render(scene, view, width, height)), (scene.hat, scene.hue, framing)


def draw_all(seed: int, width: int, height: int, indices: "Iterable[int]") -> tuple[torch.Tensor, list[Said]]:
    """These scenes: uint8 [N, 3, height, width], and what is said of each."""
    with ProcessPoolExecutor() as pool:
        pictures, said = zip(*pool.map(partial(draw, seed, width, height), indices, chunksize=50))
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).contiguous(), list(said)


def caption(rng: np.random.Generator, hat: bool, hue: float, framing: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Conditions as a careless captioner gives them: often incomplete, seldom 'portrait' for a crop of one."""
    if rng.random() < 0.1:
        return encode_conditions(None, None, None)
    if framing == "portrait":
        framing = framing if rng.random() < 0.8 else None
    else:
        framing = (None, framing, "portrait")[rng.choice(3, p=[0.6, 0.37, 0.03])]
    return encode_conditions(hat if rng.random() < 0.9 else None, hue if rng.random() < 0.9 else None, framing)


@torch.no_grad()
def encode(vae: "TAESD", pictures: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Latents of uint8 pictures, as the networks see them."""
    return vae.taesd_encoder(pictures.to(device, torch.float32) / 255)
