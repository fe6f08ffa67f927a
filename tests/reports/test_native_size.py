"""The native size that a person gives to one of a model's patches."""

import logging

import torch
from families import with_dilation, with_scale_fusion
from patching import NATIVE


def test_a_native_size_given_to_one_patch_holds_for_all(model, run):
    """A size given to Scale Fusion alone, and no dilation, without a word: one native size holds for all patches, in any order."""
    told = dict(native_size=64)
    everywhere = run(with_dilation(with_scale_fusion(model, **told), **told), NATIVE)
    assert torch.equal(run(with_dilation(with_scale_fusion(model, **told)), NATIVE), everywhere)
    assert torch.equal(run(with_dilation(with_scale_fusion(model), **told), NATIVE), everywhere)
    assert torch.equal(run(with_scale_fusion(with_dilation(model, **told)), NATIVE), everywhere)
    assert not torch.equal(run(with_scale_fusion(model, **told), NATIVE), everywhere)


def test_different_native_sizes_are_said(model, caplog):
    """Two sizes on one model: who gave them is told which one counts."""
    with caplog.at_level(logging.WARNING):
        with_dilation(with_scale_fusion(model, native_size=64), native_size=64)
        assert not caplog.messages
        with_dilation(with_scale_fusion(model, native_size=64), native_size=128)
    [text] = caplog.messages
    assert "64 and 128 px" in text
