"""LTX's guides on younger hosts, which drop some of their tokens or limit who sees them: Scale Fusion leaves such films alone."""

import logging

import dits
import pytest
import torch
from comfy_extras.nodes_lt import LTXVAddGuide

KIND = dits.KINDS["LTX-Video"]


@pytest.mark.parametrize(
    ("step", "strength", "words"),
    [(2, 1.0, "other tokens than the picture"), (1, 0.5, "by a mask over all pairs"), (2, 0.5, "by a mask over all pairs")],
    ids=["a coarser guide", "a weaker guide", "both"],
)
def test_a_guide_of_other_tokens_or_strength_keeps_the_attention_and_says_so_once(step, strength, words, caplog):
    model, x = dits.build(KIND), dits.latent(KIND, 256, 256)
    x = torch.cat([x, x[:, :, :1]], 2)
    [[_, guide]] = LTXVAddGuide.add_keyframe_index([[None, {}]], 16, x[:, :, :1], (8, 32, 32))
    mask = torch.ones(1, 1, 4, 8, 8)
    mask[:, :, 3] = -1
    mask[:, :, 3, ::step, ::step] = 1
    entry = {"pre_filter_count": 64, "strength": strength, "pixel_mask": None, "latent_shape": [1, 8 // step, 8 // step]}
    given = {**guide, "concat_mask": mask, "guide_attention_entries": [entry]}
    caplog.set_level(logging.WARNING)
    patched = dits.fusion(model)
    plain = dits.predicted(model, KIND, x, **given)
    for _ in range(2):
        assert torch.equal(dits.predicted(patched, KIND, x, **given), plain)
    [said] = [record.message for record in caplog.records if "FreeScale" in record.message]
    assert words in said
    whole = dits.predicted(model, KIND, x, **{**given, "guide_attention_entries": []})
    assert step == 2 or not torch.allclose(plain, whole, rtol=1e-3)
