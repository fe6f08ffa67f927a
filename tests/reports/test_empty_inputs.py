"""Pictures that are none, and schedules without a step."""

import comfy.samplers
import pytest
import torch
from freescale.nodes.host.stage.blend import BlendSampler
from freescale.nodes.host.stage.samplers import MULTI_STEP, NAMES, ONE_STEP, REPLANNED
from freescale.nodes.region.region_detail import RegionDetailMask

SIZE = (8, 8)
SAMPLERS = [name for name in (*ONE_STEP, *MULTI_STEP, "ddim", *REPLANNED) if name in NAMES]  # older hosts lack the younger ones


def host(name):
    return comfy.samplers.sampler_object(name)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(8, 8, 3), "shape [batch, height, width, 3]"),
        (torch.zeros(0, 8, 8, 3), "shape [batch, height, width, 3]"),
        (torch.zeros(1, 8, 8, 1), "shape [batch, height, width, 3]"),
        (torch.full((1, 8, 8, 3), float("nan")), "values that are not numbers"),
    ],
    ids=["one picture alone", "no picture", "a mask", "NaN"],
)
def test_a_picture_that_is_none_is_refused(image, words):
    """A single picture without its batch, an empty one, a mask, NaN from a VAE: "EinopsError", or accepted without a word."""
    with pytest.raises(ValueError, match="FreeScale Region Detail › image = ") as caught:
        RegionDetailMask.execute(regions="", detail_inside=3.0, detail_outside=0.5, feather=0.0, image=image)
    assert words in str(caught.value)


@pytest.mark.parametrize("last", [0.0, 0.6])
@pytest.mark.parametrize("name", SAMPLERS)
def test_without_a_step_it_is_the_hosts_result(sketch, run, name, last):
    """dpmpp_sde after a SplitSigmas at the very end: "min(): Expected reduction dim", where there is only nothing to do."""
    end = torch.tensor([last])
    try:
        expected = run(sketch, SIZE, sampler=host(name), sigmas=end)
    except IndexError:  # newer hosts' lcm looks at a second σ: that is theirs, with or without a blend
        with pytest.raises(IndexError):
            run(sketch, SIZE, sampler=BlendSampler(host(name), 2.0), sigmas=end)
        assert name == "lcm"
        return
    assert torch.equal(run(sketch, SIZE, sampler=BlendSampler(host(name), 2.0), sigmas=end), expected)
