"""The transformer's training, on a small one of the same structure and one scene of each shape."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import comfy.model_management
import freescale.nodes.host.demo as demo
import pytest
import torch

ROOT = Path(__file__).parents[2]
STEPS, CUT_AFTER = 90, 31
SMALL = dict(hidden_size=64, num_heads=1, depth_single_blocks=1)


def arguments(training, folder, *more):
    numbers = dict(scenes=len(training.BUCKETS), steps=STEPS, batch=8)
    return training.parse(["--comfyui=", f"--out={folder}", *(f"--{name}={number}" for name, number in numbers.items()), *more])


@pytest.fixture(scope="module")
def training():
    """The script as a module; scenes are made once, and a checkpoint at every step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools" / "demo_model")
        import train_transformer

        for structure in (train_transformer.TRANSFORMER, demo.TRANSFORMER):
            for name, value in SMALL.items():
                patch.setitem(structure, name, value)
        patch.setattr(comfy.model_management, "in_training", True, raising=False)
        patch.setattr(sys.modules["trainer"], "SAVE_EVERY", 0)
        patch.setattr(sys.modules["trainer"], "REPORT_EVERY", 10)
        scenes = train_transformer.scenes(arguments(train_transformer, ""), torch.device("cpu"))
        patch.setattr(train_transformer, "scenes", lambda *_: scenes)
        yield train_transformer


@pytest.fixture(scope="module")
def shapes():
    """Of what the model was called with."""
    return []


@pytest.fixture(scope="module")
def uncut(training, shapes, tmp_path_factory):
    """The folder of a run from the beginning to the end."""
    folder = tmp_path_factory.mktemp("uncut")

    def watched(generator, build=training.build):
        model = build(generator)
        model.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape[-2:])))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build", watched)
        training.train(arguments(training, folder))
    return folder


def test_loss_falls_on_a_handful_of_scenes(uncut):
    losses = torch.load(uncut / "checkpoint.pt", weights_only=True)["trainer"]["losses"]
    assert losses[0] > 1.5 and losses[-1] < 1


def test_every_shape_is_met_equally_often(training, uncut, shapes):
    """Each of about as many tokens as a native picture has."""
    assert Counter(shapes) == {(2 * height, 2 * width): STEPS / len(training.BUCKETS) for height, width in training.BUCKETS}
    assert (16, 16) in training.BUCKETS and all(abs(height * width / 256 - 1) < 0.05 for height, width in training.BUCKETS)


def test_a_run_that_was_cut_short_ends_with_the_same_bits(training, uncut, tmp_path, interrupted):
    with interrupted(torch.optim.Muon, CUT_AFTER):
        training.train(arguments(training, tmp_path))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["trainer"]["count"] == CUT_AFTER
    training.train(arguments(training, tmp_path, "--resume"))
    assert (tmp_path / "transformer.safetensors").read_bytes() == (uncut / "transformer.safetensors").read_bytes()


def test_the_pack_loads_what_was_written(uncut, tmp_path, monkeypatch):
    for path in (*demo.FOLDER.glob("model.*"), *uncut.glob("transformer.*")):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    loaded = demo.load_demo_model("transformer")[0].model.diffusion_model.state_dict()
    trained = torch.load(uncut / "checkpoint.pt", weights_only=True)["trainer"]["average"]
    assert loaded.keys() == trained.keys()
    assert all((loaded[name] - trained[name]).norm() <= 0.01 * trained[name].norm() for name in trained)
    assert json.loads((tmp_path / "transformer.json").read_text())["transformer"][0]["steps"] == STEPS
