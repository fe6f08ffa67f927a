"""AnimateDiff: motion modules that another pack puts between a U-Net's layers, by the host's own injection, whenever it is loaded."""

import comfy.sample
import comfy.samplers
import families
import pytest
import torch
from clips import FRAMES, Motion, animated, draw, in_windows
from comfy.patcher_extension import WrappersMP
from families import FAMILIES, build, with_dilation
from patching import LARGE, METHODS, NATIVE, assert_close, every_method


@pytest.fixture(scope="module")
def unet():
    """A MODEL that every test here shares: between runs its blocks are as the last one left them."""
    return build(FAMILIES["SDXL"])


@every_method
def test_every_run_is_the_first(unet, prompts, patch):
    """Patched before or after the modules come, with them still in the blocks, or copied: the same bits; and nothing stays."""
    plain = draw(patch(unet), prompts, LARGE)
    moving, _ = animated(unet)
    both = patch(moving)
    first = draw(both, prompts, LARGE)
    assert not torch.allclose(first, plain, atol=1e-3) and not torch.allclose(first, draw(moving, prompts, LARGE), atol=1e-3)
    for again in (both, both.clone(), patch(moving), animated(patch(unet))[0]):
        assert torch.equal(draw(again, prompts, LARGE), first)
    assert torch.equal(draw(both, prompts, NATIVE), draw(moving, prompts, NATIVE))
    assert torch.equal(draw(patch(unet), prompts, LARGE), plain)
    assert not any(isinstance(module, Motion) for module in unet.model.diffusion_model.modules())


@pytest.mark.parametrize("preset", ["FreeScale", "FreeScale + up blocks", "ScaleCrafter", "custom"])
def test_every_preset_dilates_what_it_does_without_modules(unet, prompts, preset):
    """Upsamplers, too, which every module before them moves."""
    patch = lambda m: with_dilation(m, preset=preset, layers="down, middle, up")  # noqa: E731
    moving, _ = animated(unet)
    first = draw(patch(moving), prompts, LARGE)
    assert not torch.allclose(first, draw(moving, prompts, LARGE), atol=1e-3)
    assert torch.equal(draw(patch(moving), prompts, LARGE), first)  # patched beside the modules
    draw(unet, prompts, NATIVE)  # which the host takes out
    assert torch.equal(draw(patch(moving), prompts, LARGE), first)


@every_method
def test_a_module_is_given_the_frames_of_one_clip_in_their_order(unet, prompts, patch):
    """DemoFusion has windows beside them and FouriScale weak rows; frames are told by their noise, which a module never mixes in."""
    moving, seen = animated(unet)
    marks = []

    def mark(executor, x, *args, **kwargs):
        marks.append(x)
        return executor(x, *args, **kwargs)

    patched = patch(moving).clone()
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", mark)
    film = 10 * torch.arange(FRAMES).reshape(-1, 1, 1, 1) + families.random(1, 4, *LARGE)
    sampler, sigmas = comfy.samplers.sampler_object("euler"), torch.tensor([5.0, 0.0])
    comfy.sample.sample_custom(patched, film, 2.0, sampler, sigmas, *prompts, torch.zeros_like(film), disable_pbar=True)
    for x in marks:
        numbers = x.mean((1, 2, 3)).unflatten(0, (-1, FRAMES))
        assert (numbers.diff(dim=1) > 0).all()  # 0 … F − 1, in each group that a module takes for a clip
    assert all(clip.shape[1] == FRAMES for clip in seen)


@pytest.mark.parametrize("name", ["Scale Fusion", "dilation"])
def test_context_windows_of_frames(unet, prompts, name, monkeypatch):
    """A context window of a clip is drawn as a clip of its own would be: nothing remembers where in the film it is."""
    monkeypatch.setattr(Motion, "frames", 2)
    moving, seen = animated(METHODS[name](unet))
    film = dict(cfg=1.0, sigmas=(5.0, 2.0, 1.0, 0.0))  # as many of the one as frames of the film, or the host stumbles
    clip = draw(in_windows(moving, 2, overlap=0), prompts, LARGE, **film)
    assert {given.shape[1] for given in seen} == {2}
    assert_close(clip, torch.cat([draw(moving, prompts, LARGE, frames, **film) for frames in (range(2), range(2, 4))]))
