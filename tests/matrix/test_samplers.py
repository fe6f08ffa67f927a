"""Every sampler and scheduler that the host registers, in a cascade's stage under both patches."""

from dataclasses import replace

import comfy.samplers
import families
import pytest
import torch
from dits import KINDS as TRANSFORMERS
from families import FAMILIES
from freescale.nodes.host.stage.samplers import MULTI_STEP, ONE_STEP, REPLANNED

TABLE, FLUX = "Samplers", TRANSFORMERS["FLUX.1"]
KINDS = {
    "exact: without a blend, ComfyUI's own bits": ("ddim", *ONE_STEP, *MULTI_STEP),
    "works, but differs from ComfyUI's even without a blend: it plans over the whole run": REPLANNED,
    "refused, with alternatives: it scales or plans its state itself": ("uni_pc", "uni_pc_bh2", "sa_solver", "sa_solver_pece"),
}


OFTEN = (
    "euler",
    "dpmpp_2m_sde",
    "heunpp2",
    "uni_pc",
    "karras",
)  # the rest runs in the whole matrix; tests/host has each by itself


def each(names: list[str]) -> list:
    return [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.long) for name in names]


@pytest.fixture(params=[FAMILIES["SDXL"], FLUX], ids=lambda family: family.name)
def patched(graph, request):
    g = graph(request.param)
    return replace(g, model=families.with_dilation(families.with_scale_fusion(g.model)))


@pytest.mark.parametrize("name", each(comfy.samplers.KSampler.SAMPLERS))
def test_every_sampler(patched, draw, publish, name):
    [kind] = [kind for kind, names in KINDS.items() if name in names]
    settings = dict(height=160, width=160, sampler_name=name)
    if patched.family.dilated:
        settings |= dict(steps=5, scheduler="karras")
    if kind.startswith("refused"):
        with pytest.raises(ValueError, match=f"FreeScale Cascade › sampler_name = '{name}'"):
            draw(patched, **settings)
    else:
        assert torch.equal(draw(patched, **settings), draw(patched, **settings))
    publish(TABLE, ", ".join(KINDS[kind]), "Blend", kind)


@pytest.mark.parametrize("name", each(comfy.samplers.KSampler.SCHEDULERS))
def test_every_scheduler(patched, draw, publish, name):
    settings = dict(height=160, width=160, scheduler=name, steps=20 if name == "linear_quadratic" else 5)
    assert torch.equal(draw(patched, **settings), draw(patched, **settings))
    publish(TABLE, "with every scheduler of ComfyUI", "Blend", "✓ (linear_quadratic from about 20 steps on)")
