"""Layers of a clip see its frames: a method that gives a call other rows keeps the frames of a clip beside each other."""

import comfy.sample
import comfy.samplers
import families
import pytest
import torch
from comfy.model_management import OOM_EXCEPTION as OutOfMemory
from patching import LARGE, assert_close
from rival_models import at_steps, demofusion, fouri

FRAMES = 3


class Temporal(torch.nn.Module):
    """Stands for a motion module: each frame is drawn towards the one after it in its clip. More rows than `most` do not fit."""

    most = 10**6

    def forward(self, x):
        if len(x) > Temporal.most:
            raise OutOfMemory("out of memory")
        clips = x.unflatten(0, (-1, FRAMES))  # (b t) c h w, as AnimateDiff and the host's own VideoUNet take it apart
        return torch.lerp(clips, clips.roll(-1, 1), 0.3).flatten(0, 1)


@pytest.fixture(scope="module")
def animated():
    """A MODEL with such a module in every block, put in as AnimateDiff does."""
    model = families.build(families.FAMILIES["SDXL"])
    network = model.model.diffusion_model
    for block in [*network.input_blocks, network.middle_block, *network.output_blocks]:
        block.append(Temporal())
    return model


def test_demofusion_windows_are_no_frames(animated, run, monkeypatch):
    """ComfyUI_TiledKSampler#39: "Does not work with AnimateDiff". Here as if memory held one window of the clip at a time."""
    drawn = run(demofusion(animated), LARGE, batch=FRAMES)
    monkeypatch.setattr(Temporal, "most", 2 * FRAMES)  # of both prompts
    assert_close(drawn, run(demofusion(animated), LARGE, batch=FRAMES), rounding=2e-5)
    monkeypatch.setattr(Temporal, "forward", lambda self, x: x)
    assert (run(demofusion(animated), LARGE, batch=FRAMES) - drawn).abs().max() > 0.01  # the module does something


def test_fouriscale_s_second_prediction_is_a_clip_of_its_own(animated, prompts, monkeypatch):
    """The same for the rows that FouriScale appends: a clip whose frames are all alike is not changed by what mixes its frames."""

    def drawn():
        noise, latent = (families.random(1, 4, *LARGE, seed=seed).expand(FRAMES, -1, -1, -1) for seed in (3, 4))
        return comfy.sample.sample_custom(
            fouri(animated), noise, 3.0, comfy.samplers.sampler_object("euler"), at_steps(animated, 5), *prompts, latent, seed=1,
            disable_pbar=True,
        )  # fmt: skip

    mixed = drawn()
    monkeypatch.setattr(Temporal, "forward", lambda self, x: x)
    assert_close(mixed, drawn(), rounding=2e-5)
