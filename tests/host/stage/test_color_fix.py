"""`color_fix`: broad areas keep the colours of the picture before, and nothing else is touched."""

import pytest
import torch
from freescale.freescale_core.blur import lowest_band
from freescale.nodes.host import pictures
from patching import state_of
from staging import step


def enlarged(demo, small, side):
    """z: what a stage starts from."""
    return demo[3].encode(pictures.resize_image(demo[3].decode(small["samples"]), side, side))


@pytest.mark.parametrize("sampler", ["euler", "euler_cfg_pp"])
def test_one_step_changes_the_broad_areas_alone(demo, small, sampler):
    """Of each picture of a batch by itself."""
    small = {"samples": torch.cat([small["samples"], small["samples"].flip(-1)])}
    z, how = enlarged(demo, small, 192), dict(steps=1, sampler_name=sampler)
    free, held = (step(demo, 192, 192, small, color_fix=on, **how)[1]["samples"] for on in (False, True))
    assert torch.allclose(held, free + lowest_band(z - free), rtol=0, atol=1e-5)
    assert not torch.allclose(held, free, rtol=0, atol=1e-2)


def test_broad_areas_stay_through_many_steps(demo, small):
    z = enlarged(demo, small, 256)
    free, held = (step(demo, 256, 256, small, steps=8, cfg=9.0, color_fix=on)[1]["samples"] for on in (False, True))
    moved, kept = ((lowest_band(each - z)).square().mean().sqrt() for each in (free, held))
    assert kept < moved / 2
    assert not torch.allclose(held - lowest_band(held), z - lowest_band(z), rtol=0, atol=0.1)  # detail is drawn


def test_the_model_is_left_as_it_was(demo, small):
    before, (free, _) = state_of(demo[0]), step(demo, 192, 192, small)
    step(demo, 192, 192, small, color_fix=True)
    assert state_of(demo[0]) == before and torch.equal(step(demo, 192, 192, small)[0], free)
