"""KID of drawings, by what a small network of our own sees in them.

It was trained by train_features.py on drawn scenes; `dev.py table1` has Inception's, for pictures of real checkpoints. There is no
FID: its bias depends on the number of pictures, and a table's rows have fewer than the network has features.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from einops import rearrange, reduce
from PIL import Image
from scipy import stats
from torch import Tensor

WEIGHTS = Path(__file__).with_name("features.safetensors")
SIDE = 256  # px that the network looks at
WIDTHS = (8, 16, 24, 32, 48)  # channels of its levels, each of half the resolution of the one before
FEWEST = 3  # pictures, for an interval

Pictures = Sequence[np.ndarray]  # what is seen in each: [crops, features]


class Network(torch.nn.Module):
    """RGB [N, 3, SIDE, SIDE] in 0 … 1 → [N, sum(WIDTHS)]: the mean of every channel of every level, fine to coarse."""

    def __init__(self):
        super().__init__()
        self.levels = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Conv2d(inside, outside, 3, 1 + (level > 0), 1), torch.nn.BatchNorm2d(outside))
            for level, (inside, outside) in enumerate(zip((3, *WIDTHS), WIDTHS))
        )
        for name, value in (("mean", 0.0), ("deviation", 1.0)):  # of true drawings, so that every feature weighs the same
            self.register_buffer(name, torch.full((sum(WIDTHS),), value))

    def forward(self, pictures: Tensor) -> Tensor:
        x, seen = 2 * pictures - 1, []
        for level in self.levels:
            x = torch.nn.functional.leaky_relu(level(x), 0.1)
            seen.append(reduce(x, "n c h w -> n c", "mean"))
        return (torch.cat(seen, 1) - self.mean) / self.deviation


@cache
def network() -> Network:
    """With its weights."""
    made = Network()
    made.load_state_dict({name: weight.float() for name, weight in safetensors.torch.load_file(WEIGHTS).items()})
    return made.eval()


@torch.no_grad()
def seen_in(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Features of the whole picture, averaged down, [1, D], and of the crops of SIDE² px that cover it, [crops, D]."""
    across = picture.width // SIDE
    crops = rearrange(_tensor(picture), "1 c (y h) (x w) -> (y x) c h w", h=SIDE, w=SIDE)
    return tuple(network()(each).double().numpy() for each in (_tensor(picture.reduce(across)), crops))


def _tensor(picture: Image.Image) -> Tensor:
    return rearrange(torch.from_numpy(np.array(picture.convert("RGB"))), "h w c -> 1 c h w").float() / 255


def kid(pictures: Pictures, reference: Pictures) -> float:
    """Kernel Inception Distance (Bińkowski et al. 2018), unbiased for independent pictures: crops of one make no pair."""
    beside = _kernels(pictures, reference).mean()
    return float(_between_pictures(_kernels(pictures, pictures)) + _between_pictures(_kernels(reference, reference)) - 2 * beside)


def _kernels(a: Pictures, b: Pictures) -> np.ndarray:
    """Mean kernel of the crops of each picture of a and each of b: [a, b]."""
    products = np.concatenate(a) @ np.concatenate(b).T / a[0].shape[1]
    return reduce((products + 1) ** 3, "(a x) (b y) -> a b", "mean", a=len(a), b=len(b))


def _between_pictures(kernels: np.ndarray) -> float:
    """The mean of a set's [n, n], but for a picture with itself."""
    return kernels[~np.eye(len(kernels), dtype=bool)].mean()


def excess_kid(pictures: Pictures, truths: Pictures, reference: Pictures) -> dict | None:
    """{value, interval}: how much farther than true drawings of the same seeds from the reference; None of too few pictures.

    Seeds spread hats and hues evenly, so that pictures are more unlike than chance has it, and KID is too small: in both alike.
    95 % by the jackknife over seeds.
    """
    if len(pictures) < FEWEST:
        return None

    ours, theirs = ((_kernels(each, each), _kernels(each, reference)) for each in (pictures, truths))

    def excess(kept: np.ndarray) -> float:  # what the reference alone adds to KID is in both
        kid_ours, kid_theirs = (
            _between_pictures(own[np.ix_(kept, kept)]) - 2 * beside[kept].mean() for own, beside in (ours, theirs)
        )
        return float(kid_ours - kid_theirs)

    everyone = np.arange(len(pictures))
    value = excess(everyone)
    left = np.array([excess(np.delete(everyone, k)) for k in everyone])
    half = float(stats.t.ppf(0.975, len(left) - 1) * np.sqrt((len(left) - 1) * left.var()))
    return {"value": value, "interval": (value - half, value + half)}
