"""The rivals on transformers, by what their code does to a picture: on the demo transformer, in few steps."""

from dataclasses import replace

import flow_rivals
import pytest
import torch
from figures import fidelity
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from methods import Work
from PIL import Image


@pytest.fixture(scope="module")
def work():
    model, positive, negative, vae = FreeScaleDemoModel.execute("no", 0.58, "portrait", "transformer").args
    return Work(model, positive, negative, vae, (256, 256), 2, seed=1, steps=5, cfg=4.0, scheduler="simple", denoise=0.75)


def image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray((255 * pixels[0].clamp(0, 1)).round().byte().numpy())


def test_the_low_band_is_half_at_its_edge():
    places = torch.arange(40.0)
    for cycles, kept in ((0, 1.0), (4, 0.5), (20, 0.0)):  # of 20 that 40 px can show
        wave = torch.cos(2 * torch.pi * cycles * places / 40).expand(1, 1, 40, 40)
        torch.testing.assert_close(flow_rivals.butterworth_low(wave), kept * wave, atol=0.01, rtol=0)


def test_a_haar_band_is_the_mean_of_cells_that_move():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    still, moved = (flow_rivals.haar_low(x, shifted)[0, 0] for shifted in (False, True))
    assert still.tolist() == [[2.5, 2.5, 4.5, 4.5]] * 2 + [[10.5, 10.5, 12.5, 12.5]] * 2
    assert (
        moved[1:3, 1:3].unique().tolist() == [7.5] and moved[0, 0] == 0
    )  # (5 + 6 + 9 + 10) / 4; three of four are beyond the edge


@pytest.mark.parametrize("method", [flow_rivals.hiflow, flow_rivals.imax])
def test_the_native_picture_guides_the_large_one(work, method):
    with torch.inference_mode():
        native, guided, direct = (image(each) for each in (work.picture(work.base()), method(work), work.direct(work.model)))
    assert guided.size == (512, 512)
    assert fidelity(guided, native) > fidelity(direct, native) + 3


@pytest.mark.parametrize("method", [flow_rivals.hiflow, flow_rivals.imax])
def test_the_same_seed_gives_the_same_picture(work, method):
    with torch.inference_mode():
        once, again = (image(method(replace(work, steps=2))) for _ in range(2))
    assert once.tobytes() == again.tobytes()


def test_each_stage_is_guided_by_the_one_before(work):
    """And what is wrapped around the model is gone afterwards."""
    with torch.inference_mode():
        before = work.base()["samples"]
        large = image(flow_rivals.hiflow(replace(work, times=4)))
        native = image(work.picture(work.base()))
        assert torch.equal(work.base()["samples"], before)
    assert large.size == (1024, 1024) and fidelity(large, native) > 15
