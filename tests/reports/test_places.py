"""Prompts that are limited to a place: where it is in the picture stays the same at every size."""

import comfy.gligen
import families
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from freescale.nodes.cascade.cascade import SelfCascadeUpscale
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.conditioning import stage_conditioning
from staging import SETTINGS

import nodes

AREA = (64, 96, 32, 16)  # px: height, width, y, x


@pytest.fixture
def seen(demo):
    """(a MODEL that notes each call's conditions, what it noted as (cells of the picture, conditions)."""
    noted, model = [], demo[0].clone()

    def note(executor, base, conds, x, timestep, options):
        noted.append((tuple(x.shape[-2:]), conds[0]))
        return executor(base, conds, x, timestep, options)

    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "test", note)
    return model, noted


def cascade(demo, model, positive, stages="2x, 1.5x", side=128, **source):
    source = source or {"image": torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(4))}
    return SelfCascadeUpscale.execute(
        model=model, positive=positive, negative=demo[2], vae=demo[3], stages=stages, **{**SETTINGS, "steps": 2}, **source
    ).args


def areas(noted):
    """Of every call: where its last condition is drawn, in parts of the picture."""
    return [tuple(n / side for n, side in zip(conds[-1]["area"], size * 2)) for size, conds in noted]


def test_an_area_in_pixels_keeps_its_place_in_every_stage(demo, seen):
    """ComfyUI#1074, UltimateSDUpscale#13: the area kept its cells, and slid to a corner of the larger picture."""
    model, noted = seen
    height, width, y, x = AREA
    regional = nodes.ConditioningSetArea().append(demo[2], width, height, x, y, 1.0)[0]
    *_, pictures = cascade(demo, model, demo[1] + regional)
    assert {size for size, _ in noted} == {(32, 32), (48, 48)}
    assert set(areas(noted)) == {(0.5, 0.75, 0.25, 0.125)}
    percent = nodes.ConditioningSetAreaPercentage().append(demo[2], 0.75, 0.5, 0.125, 0.25, 1.0)[0]
    assert all(torch.equal(a, b) for a, b in zip(pictures, cascade(demo, model, demo[1] + percent)[2]))


def test_a_second_cascade_knows_what_the_area_was_drawn_on(demo, seen):
    model, noted = seen
    regional = nodes.ConditioningSetArea().append(demo[2], AREA[1], AREA[0], AREA[3], AREA[2], 1.0)[0]
    whole = cascade(demo, model, demo[1] + regional)[0]
    _, latent, _ = cascade(demo, model, demo[1] + regional, "2x")
    noted.clear()
    assert torch.equal(cascade(demo, model, demo[1] + regional, "1.5x", latent_image=latent)[0], whole)
    assert set(areas(noted)) == {(0.5, 0.75, 0.25, 0.125)}


def test_masks_of_prompts_follow_by_themselves(demo, seen):
    """Also where the mask's bounds are the area."""
    model, noted = seen
    mask = torch.zeros(1, 128, 128)
    mask[:, 32:96, 16:112] = 1
    regional = nodes.ConditioningSetMask().append(demo[2], mask, "mask bounds", 1.0)[0]
    cascade(demo, model, demo[1] + regional)
    assert set(areas(noted)) == {(0.5, 0.75, 0.25, 0.125)}


def test_boxes_of_gligen_grow_with_the_stage(demo):
    """GLIGENTextBoxApply keeps its boxes in cells, too: the host's own network must be told the same part of each stage."""
    network, told = comfy.gligen.Gligen([], comfy.gligen.PositionNet(16, 32), 16), []
    network.position_net.register_forward_pre_hook(lambda _, inputs: told.append(inputs[0][0, 0].tolist()))
    height, width, y, x = AREA
    box = (families.random(1, 16), height // 8, width // 8, y // 8, x // 8)
    prompt = [[tokens, {**values, "gligen": ("position", network, [box])}] for tokens, values in demo[1]]
    for size in ((16, 16), (32, 32), (24, 48)):
        [(_, placed)] = stage_conditioning(family_of(demo[0]), prompt, (16, 16), size, None)
        network.set_position((1, 4, *size), placed["gligen"][2], "cpu")
    assert told == [[0.125, 0.25, 0.875, 0.75]] * 3  # x, y of two corners
    assert prompt[0][1]["gligen"][2] == [box]  # the prompt itself is not written into
