"""Timer, caption and grid, in a real ComfyUI."""

import time

import families
import pytest
import torch
from comfy_execution.utils import CurrentNodeContext
from freescale.nodes.compare.caption import FreeScaleCaption
from freescale.nodes.compare.contact_sheet import PAPER, captioned, grid
from freescale.nodes.compare.grid import FreeScaleGrid
from freescale.nodes.compare.timer import FreeScaleTimer
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from freescale.nodes.host.timer import Timer

import nodes as host_nodes

GREY = torch.tensor(PAPER) / 255


def filled(height: int, width: int, value: float, batch: int = 1) -> torch.Tensor:
    return torch.full((batch, height, width, 3), value)


def test_a_caption_stands_above_and_the_picture_stays():
    image = torch.rand(2, 60, 240, 3, generator=torch.Generator().manual_seed(1))
    for text in ("FreeScale · 12.3 s", "a name that is much longer than the picture is wide, at any size of its letters"):
        shown = captioned(image, text)
        assert shown.shape == (2, 80, 240, 3)
        assert shown[:, 20:].equal(image)
        assert shown[0, :20].max() > 0.8, "no letters"
        assert shown[0, :20, 0].sub(GREY).abs().max() < 1e-6, "letters reach the edge"


def test_a_caption_without_text_is_a_plain_strip():
    assert captioned(filled(60, 240, 1.0), "")[0, :20].sub(GREY).abs().max() < 1e-6


def test_a_grid_fits_pictures_of_any_size_into_equal_cells():
    sheet = grid([filled(8, 8, 1.0)[0], filled(128, 64, 0.5)[0], filled(64, 64, 0.0)[0]], 2, 128)
    gap = 2
    assert sheet.shape == (1, 2 * 128 + 3 * gap, 2 * 64 + 3 * gap, 3)
    cells = [sheet[0, y : y + 128, x : x + 64] for y in (gap, 128 + 2 * gap) for x in (gap, 64 + 2 * gap)]
    assert cells[0][32:96].eq(1).all() and cells[0][:32].sub(GREY).abs().max() < 1e-6, "enlarged to the width, centred"
    assert cells[1].sub(0.5).abs().max() < 0.01
    assert cells[2][32:96].eq(0).all()
    assert cells[3].sub(GREY).abs().max() < 1e-6, "an empty place"


def test_each_picture_of_a_batch_gets_a_place():
    [sheet] = FreeScaleGrid.execute(3, 64, picture_2=filled(64, 64, 1.0, 2), picture_9=filled(64, 64, 0.0), picture_4=None).args
    assert sheet.shape == (1, 66, 3 * 65 + 1, 3)
    assert [sheet[0, 33, x].mean().round().item() for x in (33, 98, 163)] == [1, 1, 0]


def test_a_grid_that_no_memory_holds_is_refused_with_the_size_that_fits():
    many = filled(8, 8, 1.0, 64)
    with pytest.raises(ValueError, match="FreeScale Grid › cell = 4096: 64 places .* more than 256 megapixels. Up to 2048 is"):
        FreeScaleGrid.execute(64, 4096, picture_1=many)
    with pytest.raises(ValueError, match="66 places"):
        FreeScaleGrid.execute(3, 4096, picture_1=many)


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(ValueError, match="FreeScale Grid › picture_1 = 'none': .* Wire at least one"):
        FreeScaleGrid.execute(3, 64)


def test_seconds_are_those_of_the_nodes_behind_the_timer_when_they_last_ran():
    def after(*nodes):
        return {"inputs": {**{f"input{n}": [node, 0] for n, node in enumerate(nodes)}, "steps": 4}}

    native = Timer("a")
    native.add("1", "run 1", 2.0)
    timer = Timer("b", native)
    timer.add("2", "run 1", 1.0)
    timer.add("2", "run 1", 1.0)  # a list of two
    timer.add("3.0.0.stage1", "run 1", 4.0)
    graph = {
        "a": after("model"),
        "b": after("model", "a"),
        "patch": after("b"),
        "1": after("a"),
        "2": after("b"),
        "3": after("patch"),
    }
    assert timer.seconds(graph) == 8.0
    timer.add("2", "run 2", 0.5)
    assert timer.seconds(graph) == 6.5
    assert timer.seconds({**graph, "3": after("model")}) == 2.5  # wired to something else since, and the timer is cached
    assert timer.seconds({"2": after("b")}) == 0.5


@torch.inference_mode()
def test_a_timed_model_samples_the_same_and_its_time_is_taken():
    model, positive, negative, _ = FreeScaleDemoModel.execute("no", 0.1, "portrait").args
    node = FreeScaleTimer.PREPARE_CLASS_CLONE(None)
    node.hidden.unique_id = "4"
    timed, timer = node.execute(model).args
    [latent] = families.host_node(host_nodes.EmptyLatentImage, 128, 128, 1)
    settings = (3, 2, 4.0, "euler", "ddim_uniform", positive, negative, latent, 1.0)
    [plain] = families.host_node(host_nodes.KSampler, model, *settings)
    began = time.perf_counter()
    with CurrentNodeContext("run 1", "5"):
        [sampled] = families.host_node(host_nodes.KSampler, timed, *settings)
    assert sampled["samples"].equal(plain["samples"])
    assert 0 < timer.seconds({"5": {"inputs": {"model": ["4", 0]}}}) <= time.perf_counter() - began
    assert not model.model_options["transformer_options"].get("wrappers"), "the model given is as it was"


@pytest.mark.parametrize(
    "broken, words", [(torch.zeros(1, 8, 8, 1), r"\[1, 8, 8, 1\]"), (torch.full((1, 8, 8, 3), torch.nan), "NaN")]
)
def test_what_is_no_picture_is_refused(broken, words):
    with pytest.raises(ValueError, match=f"FreeScale Caption › image = .*{words}"):
        FreeScaleCaption.execute(broken, "name")
    with pytest.raises(ValueError, match=f"FreeScale Grid › picture_2 = .*{words}"):
        FreeScaleGrid.execute(3, 64, picture_1=filled(8, 8, 0.5), picture_2=broken)
