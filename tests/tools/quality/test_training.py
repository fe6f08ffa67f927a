"""The training of the metrics' network, in a few steps."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import features
import pytest
import safetensors
import torch

from tools.folders import ROOT


def test_it_writes_weights_whose_features_all_weigh_the_same(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools" / "quality")
    import train_features

    monkeypatch.setattr(train_features, "ProcessPoolExecutor", ThreadPoolExecutor)
    with torch.random.fork_rng():
        train_features.train(train_features.parse([f"--out={tmp_path}", "--drawings=8", "--steps=3", "--batch=4"]))
    written, kept = (folder / "features.safetensors" for folder in (tmp_path, features.WEIGHTS.parent))
    with safetensors.safe_open(written, "pt") as new, safetensors.safe_open(kept, "pt") as ours:
        assert set(new.keys()) == set(ours.keys())
        assert new.metadata()["recipe"] == ours.metadata()["recipe"]
        assert json.loads(new.metadata()["run"]).keys() == json.loads(ours.metadata()["run"]).keys()
    monkeypatch.setattr(features, "WEIGHTS", written)
    monkeypatch.setattr(features, "network", features.network.__wrapped__)
    pixels = torch.stack([torch.from_numpy(train_features.drawing(2412, n)[0]) for n in range(8)]).movedim(-1, 1) / 255
    with torch.no_grad():
        seen = features.network()(pixels)
    assert seen.mean(0).abs().max() < 1e-3 and seen.std(0).max() == pytest.approx(1, abs=1e-3)
    del sys.modules["train_features"]
