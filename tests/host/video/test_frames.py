"""Frames are the batch: each is drawn as its picture would be, and layers between frames are the model's own."""

import logging

import clips
import pytest
import torch
from clips import FRAMES, draw, in_windows
from families import FAMILIES, build, conditioning, watched, with_scale_fusion
from freescale.nodes.host.family import family_of
from patching import LARGE, assert_close, every_method

SVD = FAMILIES["Stable Video Diffusion"]
# Latents of 8, 4, 2 and 1 times as many cells a side in the network's levels: of SQUARE the middle has 2 × 2 tokens, FRAMES of them.
SQUARE, TALL = (16, 16), (24, 16)


@pytest.fixture(scope="module")
def svd():
    """A MODEL that every test shares, native at 64 px, and two prompts."""
    return build(SVD, native=64), (conditioning(SVD, 1), conditioning(SVD, 2))


@every_method
def test_a_frame_is_drawn_as_its_picture(model, prompts, patch):
    """Windows, jitter, blur and lattices are the same for all frames: in another order the clip is the same in that order."""
    patched, order = patch(model), [2, 0, 3, 1]
    clip = draw(patched, prompts, LARGE)
    assert_close(draw(patched, prompts, LARGE, order), clip[order])
    assert_close(draw(patched, prompts, LARGE, [2]), clip[[2]])


@every_method
def test_every_context_window_has_the_same_windows(model, prompts, patch):
    """A frame of two context windows would else be the mean of two pictures."""
    patched = patch(model)
    film = dict(cfg=1.0, sigmas=(5.0, 2.0, 1.0, 0.0))  # as many of the one as frames of the film, or the host stumbles
    assert_close(draw(in_windows(patched, 3), prompts, LARGE, **film), draw(patched, prompts, LARGE, **film))


@pytest.mark.parametrize("size", [SQUARE, TALL], ids=["as many tokens as frames", "more"])
@every_method
def test_layers_between_frames_are_the_hosts_own(svd, patch, size, caplog):
    """Each of SVD's, asked once more without us, gives the same bits; and nobody warns of tokens that are no picture's."""
    model, prompts = svd
    asked, network = [], model.model.diffusion_model
    blocks = [module for name, module in network.named_modules() if name.endswith("time_stack.0")]

    def ask(block, args, given, answer):
        options = given.get("transformer_options", {})  # the oldest hosts hand none to these layers
        plain = {name: value for name, value in options.items() if name not in ("patches", "patches_replace")}
        own = type(block).forward(block, *args, **{**given, "transformer_options": plain})
        asked.append((tuple(args[0].shape), torch.equal(own, answer)))

    hooks = [block.register_forward_hook(ask, with_kwargs=True) for block in blocks]
    caplog.set_level(logging.WARNING)
    try:
        clip = draw(patch(model), prompts, size)
    finally:
        for hook in hooks:
            hook.remove()
    assert torch.isfinite(clip).all() and not torch.allclose(clip, draw(model, prompts, size), atol=1e-3)
    assert len(blocks) == 16 and len(asked) >= 16 and all(same for _, same in asked)
    assert {shape[1] for shape, _ in asked} == {FRAMES}
    assert not caplog.records


def test_scale_fusion_acts_where_tokens_are_as_many_as_frames(svd):
    """The layer over the picture is told from the one between frames by what it is, and not by its tokens."""
    model, prompts = svd
    seeing, seen = watched(model)
    draw(with_scale_fusion(seeing), prompts, SQUARE, cfg=1.0)
    grid, tokens = seen["middle", 0, 0]
    assert grid == (2, 2) and tokens[1] == 4 * FRAMES
    assert tokens[4] in (FRAMES, FRAMES + 4)  # 4 rows of 4 tokens are between frames, where the host hands on the observer


def test_another_nodes_patch_still_reaches_the_layers_between_frames(svd):
    """As in the host alone, which calls them by the name of the layer beside them."""
    model, prompts = svd

    def rows(patched):
        seen = set()
        observed = patched.clone()
        observed.set_model_attn1_patch(lambda q, k, v, extra: (seen.add(tuple(q.shape[:2])), (q, k, v))[1])
        draw(observed, prompts, TALL, cfg=1.0)
        return seen

    assert rows(with_scale_fusion(model)) == rows(model) >= {(FRAMES, 6)}


def test_layers_between_frames_have_no_names(svd):
    """What other packs put into a block may look like the host's spatial transformers and be none."""
    model = build(FAMILIES["SD 1.5"])
    before = family_of(model)
    layers, count = before.attention_layers(), len(before.feed_forwards())

    class TemporalTransformer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.proj_in = torch.nn.Conv1d(8, 8, 1)
            self.transformer_blocks = torch.nn.ModuleList([clips.BasicTransformerBlock(8, 2, 4)])

    model.model.diffusion_model.input_blocks[1].insert(1, TemporalTransformer())
    after = family_of(model)
    assert after.attention_layers() == layers and len(after.feed_forwards()) == count + 1
    assert [axis for _, axis in after.feed_forwards()].count(0) == len(after.temporal_blocks()) == 1
    assert len(family_of(svd[0]).temporal_blocks()) == 16
