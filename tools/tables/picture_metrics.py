"""FID, KID and IS of Table 1 by torch-fidelity's own functions; its network reads every set of pictures once."""

import functools
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.utils import create_feature_extractor
from tqdm import tqdm

from tools.console import Trouble

FEATURES, LOGITS = "2048", "logits_unbiased"
LARGEST_SUBSET, SPLITS = 1000, 10  # of KID and IS, as usual
GPU = torch.cuda.is_available()  # all that torch-fidelity knows beside the CPU


class Crops(Dataset):
    """Every picture cut into squares of `side` px, which cover it; at the pictures' own size these are the pictures."""

    def __init__(self, paths: list[Path], side: int):
        self.paths, self.side = paths, side
        self.across = _pixels(paths[0]).shape[1] // side

    def __len__(self) -> int:
        return len(self.paths) * self.across**2

    def __getitem__(self, k: int) -> torch.Tensor:
        picture, place = divmod(k, self.across**2)
        y, x = (self.side * n for n in divmod(place, self.across))
        return torch.from_numpy(_pixels(self.paths[picture])[y : y + self.side, x : x + self.side].copy()).permute(2, 0, 1)


@functools.lru_cache(maxsize=1)  # all crops of a picture follow each other
def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def load_network(weights: Path | None) -> torch.nn.Module:
    """torch-fidelity's Inception, downloaded where no file is given; Trouble where it cannot be had."""
    try:
        return create_feature_extractor(
            "inception-v3-compat", [FEATURES, LOGITS], cuda=GPU, feature_extractor_weights_path=weights and str(weights)
        )
    except OSError as error:
        if weights:
            raise Trouble(f"--inception {weights} cannot be read: {error}") from None
        raise Trouble(
            f"The weights of the metrics' network could not be downloaded ({error}). Fetch {URL_INCEPTION_V3} where there is "
            "internet, and name the file with --inception."
        ) from None
    except Exception as error:  # whatever unpickling meets in a file that is something else
        message = str(error).splitlines()[0]
        raise Trouble(f"--inception {weights} does not hold the weights of torch-fidelity's Inception: {message}") from None


class Pictures:
    """What the network sees in a set of pictures, or in their crops."""

    def __init__(self, network, paths: list[Path], side: int, title: str):
        crops, seen = Crops(paths, side), []
        batch = max(1, min(32, 2**26 // side**2))  # the network gets them at full size, in float32
        with tqdm(total=len(crops), desc=title, unit="picture", file=sys.stderr) as bar:
            for pictures in DataLoader(crops, batch):
                seen.append([found.cpu() for found in network(pictures.to("cuda" if GPU else "cpu"))])
                bar.update(len(pictures))
        self.features, self.logits = (torch.cat(found) for found in zip(*seen))
        self.statistics = fid_features_to_statistics(self.features)

    def distances(self, other: "Pictures") -> dict[str, float]:
        """FID and KID between two sets."""
        subset = min(LARGEST_SUBSET, len(self.features), len(other.features))
        kid = kid_features_to_metric(self.features, other.features, kid_subset_size=subset, verbose=False)
        fid = fid_statistics_to_metric(self.statistics, other.statistics, verbose=False)
        return {"fid": fid[KEY_METRIC_FID], "kid": kid[KEY_METRIC_KID_MEAN], "kid_std": kid[KEY_METRIC_KID_STD]}

    def inception_score(self) -> dict[str, float]:
        found = isc_features_to_metric(self.logits, splits=min(SPLITS, len(self.logits)))
        return {"is": found[KEY_METRIC_ISC_MEAN], "is_std": found[KEY_METRIC_ISC_STD]}
