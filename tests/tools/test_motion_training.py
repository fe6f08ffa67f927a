"""The training of the demo model's layers between frames: clips of two frames, and a few steps."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
STEPS, CUT_AFTER, FRAMES = 3, 1, 2


@pytest.fixture(scope="module")
def training():
    """The script as a module; a checkpoint at every step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools" / "demo_model")
        import train_motion

        patch.setattr(train_motion, "FRAMES", FRAMES)
        patch.setattr(sys.modules["trainer"], "SAVE_EVERY", 0)
        patch.setattr(sys.modules["trainer"], "AVERAGE_EVERY", 1)  # or three steps leave the average where it began
        clips = train_motion.clips(arguments(train_motion, ""), load_file(train_motion.DEMO / "model.safetensors"))
        patch.setattr(train_motion, "clips", lambda *_: clips)
        yield train_motion


def arguments(training, folder, *more):
    return training.parse(["--comfyui=", f"--out={folder}", "--clips=2", f"--steps={STEPS}", "--batch=1", *more])


def built(training):
    return training.build(load_file(training.DEMO / "model.safetensors"), torch.device("cpu"), training.layers_between_frames())


def test_frames_share_most_of_their_noise_and_a_picture_keeps_its_own(training):
    mixed = training.layers_between_frames().mixed_noise
    noise = torch.randn(8, 4, 128, 128, generator=torch.Generator().manual_seed(0))
    power = torch.cov(mixed(noise, 8).flatten(1).double())
    assert torch.allclose(power, 0.2 * torch.eye(8).double() + 0.8, atol=0.03)
    assert torch.equal(mixed(noise, 1), noise)
    assert torch.equal(mixed(torch.cat([noise, -noise]), 8)[8:], -mixed(noise, 8)), "clips of a batch are mixed apart"


def test_untrained_layers_pass_on_what_they_get_or_its_mean(training):
    """So that training begins at the pictures of the U-Net, which stays as it is, or at clips that stand still."""
    unet, layers = built(training)
    shared = [layer for layer in layers if layer.pull.bias.any()]
    assert len(layers) == 17 and shared == list(layers[2:-3])
    features, embedding = torch.randn(FRAMES, 64, 4, 4), torch.randn(FRAMES, 256)
    with torch.no_grad():
        assert torch.allclose(shared[0](features, FRAMES, embedding), features.mean(0).expand_as(features), atol=1e-6)
    for layer in shared:
        layer.pull.bias.data.zero_()
    x, t, words = torch.randn(FRAMES, 4, 8, 8), torch.full((FRAMES,), 500), torch.randn(FRAMES, 3, 32)
    given = dict(context=words, y=torch.randn(FRAMES, 16 + 6 * 256))
    with torch.no_grad():
        [(kinds, _)] = unet.keywords["transformer_options"]["patches"]["forward_timestep_embed_patch"]
        without = {"patches": {"forward_timestep_embed_patch": [(kinds, lambda layer, x, *others: x)]}}
        still = unet.func(x, t, transformer_options=without, **given)
        assert torch.equal(unet(x, t, num_video_frames=FRAMES, **given), still)
        torch.nn.init.normal_(layers[0].transformer.proj_out.weight)
        assert not torch.equal(unet(x, t, num_video_frames=FRAMES, **given), still)
    assert not any(
        parameter.requires_grad for name, parameter in unet.func.named_parameters() if parameter not in set(layers.parameters())
    )


def test_a_run_that_was_cut_short_ends_with_the_same_bits(training, tmp_path, interrupted):
    uncut, cut = (tmp_path / name for name in ("uncut", "cut"))
    for folder in (uncut, cut):
        folder.mkdir()
    with torch.random.fork_rng():
        training.train(arguments(training, uncut))
        with interrupted(torch.optim.AdamW, CUT_AFTER):
            training.train(arguments(training, cut))
        training.train(arguments(training, cut, "--resume"))
    assert (cut / "motion.safetensors").read_bytes() == (uncut / "motion.safetensors").read_bytes()
    trained, begun = (
        load_file(uncut / "motion.safetensors"),
        built(training)[1],
    )
    assert not torch.equal(trained["0.transformer.proj_out.weight"].float(), begun[0].transformer.proj_out.weight)
    assert json.loads((cut / "motion.json").read_text())["motion"][0]["steps"] == STEPS


def test_a_run_goes_on_from_what_another_has_learned(training, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    begin = tmp_path / "first" / "motion.safetensors"
    with torch.random.fork_rng():
        training.train(arguments(training, begin.parent))
        training.train(arguments(training, tmp_path / "second", f"--begin={begin}"))
    first, second = (
        load_file(path)["0.transformer.proj_out.weight"].float() for path in (begin, tmp_path / "second" / begin.name)
    )
    assert (
        not torch.equal(first, second)
        and torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0).mean() > 0.5
    )
    assert len(json.loads((tmp_path / "second" / "motion.json").read_text())["motion"]) == 2


def test_a_clip_moves_and_keeps_its_character_in_the_picture(training):
    """Of what a prompt says, nothing changes from frame to frame; the face is in every portrait whole, with its hat but for an edge."""
    for number in range(20):
        clip = sys.modules["scenes"].random_clip(np.random.default_rng(number), "portrait", 8)
        scenes, views = zip(*clip)
        assert len({(scene.hat, scene.hue, scene.skin) for scene in scenes}) == 1
        assert len({scene.gaze for scene in scenes}) == len({view.x for view in views}) == 8
        for view in views:
            assert view.x - view.width / 2 <= -1.2 and view.x + view.width / 2 >= 1.2
            assert view.y - view.width / 2 <= -1.83 and view.y + view.width / 2 >= 1.15
