"""Exported scripts and notebooks, which call the nodes themselves."""

import pytest
import torch
from freescale.nodes import NODES
from freescale.nodes.compare.caption import FreeScaleCaption
from freescale.nodes.compare.timer import FreeScaleTimer
from staging import SETTINGS

NODE = {node.GET_SCHEMA().node_id: node for node in NODES}
SOURCE = torch.rand(1, 96, 128, 3, generator=torch.Generator().manual_seed(4))


def execute(name, **inputs):
    """As "Save as Script" writes it: the node's FUNCTION, with the values themselves."""
    node = NODE[name]()
    return getattr(node, NODE[name].FUNCTION)(**inputs).args


def cascade(demo, stages, **source):
    wired = dict(zip(("model", "positive", "negative", "vae"), demo))
    return execute("SelfCascadeUpscale", **wired, stages=stages, **SETTINGS, **source)


def test_a_cascade_runs_its_stages_in_place(demo):
    """ComfyUI-to-Python-Extension#32: AttributeError, no attribute 'dynprompt'."""
    picture, latent, pictures = cascade(demo, "1.5x, 2x", image=SOURCE)
    assert [tuple(p.shape) for p in pictures] == [(1, 144, 192, 3), (1, 288, 384, 3)] and torch.equal(picture, pictures[-1])
    first, half, _ = cascade(demo, "1.5x", image=SOURCE)
    assert torch.equal(first, pictures[0])
    assert torch.equal(cascade(demo, "2x", latent_image=half)[1]["samples"], latent["samples"])
    with pytest.raises(ValueError, match="FreeScale Cascade › stages = 'big'"):
        cascade(demo, "big", image=SOURCE)


def test_a_timer_counts_everything(demo):
    model, time = execute("FreeScaleTimer", model=demo[0])
    assert FreeScaleTimer.hidden is None and time.seconds(None) == 0
    cascade((model, *demo[1:]), "1.5x", image=SOURCE)
    once = time.seconds(None)
    cascade((model, *demo[1:]), "1.5x", image=SOURCE)
    assert time.seconds(None) > once > 0
    assert FreeScaleCaption.execute(SOURCE, "two cascades", time).args[0].shape[0] == 1


def test_every_other_node_needs_no_queue(demo):
    """Whatever else has hidden inputs would need one."""
    with_hidden = {
        name
        for name, node in NODE.items()
        if {"dynprompt", "unique_id"} & {h.value.lower() for h in node.GET_SCHEMA().hidden or ()}
    }
    assert with_hidden == {"SelfCascadeUpscale", "FreeScaleCascadeStage", "FreeScaleTimer"}
