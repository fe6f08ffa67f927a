"""Hosts that have no way into a transformer's attention say so; everything else there is as on younger ones."""

import dits
import pytest
import torch
from freescale.nodes.host.seam.joint_attention import HAS_OVERRIDE
from freescale.nodes.host.stage.plan import plan_sigmas
from staging import stage


def test_scale_fusion_on_a_transformer_is_there_or_refused_in_words():
    model = dits.build(dits.KINDS["FLUX.1"])
    if HAS_OVERRIDE:
        assert dits.fusion(model) is not model
    else:
        with pytest.raises(ValueError, match="FreeScale Scale Fusion › model = 'Flux'.*Update it to 0.3.59"):
            dits.fusion(model)
    sigmas = plan_sigmas("node", model, stage(256, 256, steps=8, scheduler="simple", denoise=0.75))
    assert len(sigmas) > 1 and torch.all(sigmas <= 0.7505)  # the cascade is there on each
