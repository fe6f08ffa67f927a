"""Our patches beside each other's and those of other nodes, in either order."""

import itertools
import logging

import comfy.ldm.modules.attention
import pytest
import torch
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_tomesd import TomePatchModel
from families import host_node
from families import with_dilation as dilation
from families import with_scale_fusion as fusion
from patching import LARGE, NATIVE, OUTPUT, both, freeu, hwd, with_weight_patches

import nodes as host_nodes  # noqa: F401  the host's nodes: comfy_extras above rely on them

OURS = pytest.mark.parametrize("ours", [fusion, hwd, dilation, both], ids=["hw", "hwd", "dilation", "both"])


@pytest.mark.parametrize("ours", [fusion, hwd])
def test_stacks_with_each_other(in_both_orders, ours):
    in_both_orders(ours, dilation)


def test_two_scale_fusions_share_the_blocks_in_either_order(model, run):
    """Each folds its own layers with its own blur: at these native sizes the two differ (S = 2 and 4)."""
    down = lambda m: fusion(m, blur_axes="hwd", blocks="down", native_size=64)  # noqa: E731
    rest = lambda m: fusion(m, blur_axes="hwd", blocks="middle, up", native_size=128)  # noqa: E731
    assert torch.equal(run(rest(down(model)), LARGE, steps=1), run(down(rest(model)), LARGE, steps=1))


def test_a_later_scale_fusion_takes_the_place_of_an_earlier_one(model, run):
    for first, second in itertools.product([fusion, hwd], repeat=2):
        assert torch.equal(run(second(fusion(first(model), seed=9)), LARGE), run(second(model), LARGE))


@OURS
def test_stacks_with_freeu(in_both_orders, ours):
    in_both_orders(ours, freeu)


@OURS
def test_stacks_with_weight_patches(in_both_orders, ours, unchanged):
    """As a LoRA makes them: on a self-attention and on a dilated convolution."""
    keys = ["diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight", OUTPUT + ".weight"]
    in_both_orders(ours, lambda m: with_weight_patches(m, keys))


@pytest.mark.parametrize("index", [None, 0])
@pytest.mark.parametrize("ours", [fusion, hwd])
def test_chains_another_attention_replacement(model, run, in_both_orders, ours, index):
    """Set before or after, for a block or for one of its transformers: it does the attention, of windows and of all."""
    seen = set()

    def replacement(q, k, v, extra):
        seen.add(q.shape[1])
        batch, _, h, w = extra["activations_shape"]
        assert (batch, h * w) == q.shape[:2]  # it can tell which grid it is given
        return 0.5 * comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

    def other(m):
        patched = m.clone()
        patched.set_model_attn1_replace(replacement, "input", 4, index)
        return patched

    in_both_orders(ours, other)
    run(other(model), NATIVE)
    seen.clear()
    run(other(ours(model)), LARGE)
    assert seen == {64, 256}  # windows of 8 × 8, and the whole 16 × 16


@pytest.mark.parametrize("ours", [fusion, hwd])
def test_another_output_patch_sees_the_batch_it_knows(in_both_orders, ours):
    batches = set()

    def halve(n, extra):
        batches.add(n.shape[0])
        return 0.5 * n

    def other(m):
        patched = m.clone()
        patched.set_model_attn1_output_patch(halve)
        return patched

    in_both_orders(ours, other)
    assert batches == {2}


def hypertile(m):
    return host_node(HyperTile, m, 32, 2, 2, False)[0]


def tome(m):
    return host_node(TomePatchModel, m, 0.5)[0]


@pytest.mark.parametrize("other", [hypertile, tome])
@pytest.mark.parametrize("ours", [fusion, hwd, both])
@pytest.mark.parametrize("size", [LARGE, (40, 20)])
@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_lives_with_nodes_that_change_the_tokens(model, run, other, ours, size, cfg, caplog):
    """Both orders run; a layer whose tokens were merged or tiled keeps the other node's attention; each patched MODEL says so once."""
    for patched in (ours(other(model)), other(ours(model))):
        with caplog.at_level(logging.WARNING):
            assert torch.isfinite(run(patched, size, cfg=cfg, steps=1)).all()
    if (other, size) == (hypertile, LARGE):
        # Every layer is tiled here, so nothing of Scale Fusion remains and hypertile alone gives the same.
        assert len(caplog.messages) == 2
        [text] = set(caplog.messages)
        assert "Scale Fusion" in text and "HyperTile" in text
        if ours is not both:
            assert torch.equal(run(ours(other(model)), size, cfg=cfg, steps=1), run(other(model), size, cfg=cfg, steps=1))


@pytest.mark.parametrize("ours", [fusion, hwd])
def test_hypertile_in_two_tiles_is_not_mistaken_for_our_own_stack(model, run, ours):
    """A 16 × 8 grid in two tiles doubles the batch just as the feature blur does."""

    def two_tiles(m):
        return host_node(HyperTile, m, 64, 1, 1, False)[0]

    patched = ours(two_tiles(model))
    assert torch.isfinite(run(patched, (32, 16), steps=1, cfg=1.0)).all()
