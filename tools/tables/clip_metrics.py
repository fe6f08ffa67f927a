"""FVD, dynamic degree and aesthetic quality of Table 3, by networks whose weights the user names."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d
from einops import rearrange
from PIL import Image
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torchvision.models.optical_flow import raft_large
from torchvision.transforms.functional import InterpolationMode, center_crop, normalize, resize
from tqdm import tqdm
from transformers import CLIPVisionModelWithProjection

from tools.console import Trouble

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIDE = 224  # px that I3D and CLIP look at
FEWEST = 9  # frames: of fewer, nothing is left for I3D's last layer to look at
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
FLOW_UPDATES = 20
FASTEST = 0.05  # of the px tell whether something moves


def load_networks(i3d: Path, raft: Path, clip: Path, aesthetic: Path) -> dict[str, torch.nn.Module]:
    """The four networks with their weights; Trouble where a file does not hold them."""

    def loaded(option: str, path: Path, load: Callable[[], torch.nn.Module]) -> torch.nn.Module:
        try:
            return load().to(DEVICE).eval()
        except Exception as error:  # whatever unpickling meets in a file that is something else
            raise Trouble(f"--{option} {path} does not hold the weights of its network: {str(error).splitlines()[0]}") from None

    def with_weights(network: torch.nn.Module, path: Path) -> torch.nn.Module:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return network

    see = loaded("clip", clip, lambda: CLIPVisionModelWithProjection.from_pretrained(clip, local_files_only=True))
    return {
        "i3d": loaded("i3d", i3d, lambda: with_weights(InceptionI3d(400, in_channels=3), i3d)),
        "raft": loaded("raft", raft, lambda: with_weights(raft_large(), raft)),
        "clip": see,
        "aesthetic": loaded(
            "aesthetic", aesthetic, lambda: with_weights(torch.nn.Linear(see.config.projection_dim, 1), aesthetic)
        ),
    }  # fmt: skip


class Clips:
    """What the networks see in a set of clips, each a folder of frames."""

    def __init__(self, networks: dict[str, Any], paths: list[Path], title: str):
        seen, moving, beauty = [], [], []
        for path in tqdm(paths, desc=title, unit="clip", file=sys.stderr):
            frames = _frames(path).to(DEVICE)
            seen.append(actions(networks["i3d"], frames))
            moving.append(moves(networks["raft"], frames))
            beauty.append(aesthetics(networks["clip"], networks["aesthetic"], frames))
        self.statistics = fid_features_to_statistics(torch.stack(seen))
        self.dynamic, self.aesthetic = (float(np.mean(each)) for each in (moving, beauty))

    def distance(self, other: "Clips") -> float:
        """FVD between two sets."""
        return fid_statistics_to_metric(self.statistics, other.statistics, verbose=False)[KEY_METRIC_FID]


def _frames(folder: Path) -> Tensor:
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))]
    return rearrange(torch.from_numpy(np.stack(pictures)), "t h w c -> t c h w").float()  # [T, 3, H, W], 0 … 255


def actions(i3d: torch.nn.Module, frames: Tensor) -> Tensor:
    """I3D's 400 logits of a clip [T, 3, H, W], squashed to its square; each frame of one that is too short is held for longer."""
    frames = frames.repeat_interleave(-(-FEWEST // len(frames)), 0)
    frames = torch.nn.functional.interpolate(frames, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return i3d(rearrange(frames / 127.5 - 1, "t c h w -> 1 c t h w"))[0].cpu()


def moves(raft: torch.nn.Module, frames: Tensor) -> bool:
    """VBench's rule for a clip [T, 3, H, W]: whether the fastest px are fast in a quarter of its frames."""
    needed, fast = round(len(frames) / 4), 6 * min(frames.shape[-2:]) / 256
    return sum(speed > fast for speed in speeds(raft, frames)) >= needed


def speeds(raft: torch.nn.Module, frames: Tensor) -> list[float]:
    """How far the fastest px go from each frame to the next, px."""
    found = []
    for pair in zip(frames[:-1] / 127.5 - 1, frames[1:] / 127.5 - 1):
        flow = raft(*(frame[None] for frame in pair), num_flow_updates=FLOW_UPDATES)[-1]  # [1, 2, H, W]
        speed = flow.norm(dim=1).flatten()
        found.append(float(speed.topk(int(len(speed) * FASTEST)).values.mean()))
    return found


def aesthetics(clip: torch.nn.Module, head: torch.nn.Module, frames: Tensor) -> float:
    """LAION's aesthetic score of CLIP's features, a tenth of it as VBench has it: the mean of a clip [T, 3, H, W]."""
    frames = center_crop(resize(frames, [SIDE], InterpolationMode.BICUBIC, antialias=False), [SIDE])
    features = clip(normalize(frames / 255, CLIP_MEAN, CLIP_STD)).image_embeds
    return float(head(torch.nn.functional.normalize(features, dim=-1)).mean()) / 10
