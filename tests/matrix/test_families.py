"""Every family at every stage size; what is detected, and what is refused."""

from dataclasses import replace
from functools import partial

import comfy.model_base
import comfy.supported_models as hosts
import comfy.supported_models_base
import families
import pytest
import torch
from families import FAMILIES, watched
from freescale.freescale_core.dilation import dilated_layers
from freescale.freescale_core.grammar.blocks import parse_blocks
from freescale.nodes.host.family import family_of

TABLE = "Model families"
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@every_family
def test_is_detected(publish, family):
    """Native size, self-attentions and the layers to dilate come from the model itself."""
    model = families.build(family, native=None)
    found = family_of(model, "node")
    height, width = family.native if isinstance(family.native, tuple) else (family.native, family.native)
    assert found.native == (height, width)
    assert len(found.attention_layers()) == family.self_attentions
    dilated = dilated_layers(found.convolutions(), "FreeScale", parse_blocks("all"))
    assert tuple(layer.name for layer in dilated) == family.dilated
    publish(TABLE, family.name, "Native size", f"{width} px" if width == height else f"{width} × {height} px")


@every_family
def test_draws_an_enlarged_picture(graph, draw, publish, family):
    """Both patches act in each layer that they should; at the native size none does."""
    g, draw = graph(family), partial(draw, **family.schedule)
    plain = draw(g)
    model, seen = watched(g.model)
    fused = draw(replace(g, model=families.with_scale_fusion(model)))
    assert len(seen) == family.self_attentions
    for (h, w), tokens in seen.values():
        assert set(tokens) - {1} == {h * w, h * w // 4}  # a window has half the sides at 2×; a clip of one frame has 1 token
    dilated = draw(replace(g, model=families.with_dilation(g.model)))
    both = replace(g, model=families.with_dilation(families.with_scale_fusion(g.model)))
    pictures = [plain, fused, dilated, draw(both)]
    assert all(not torch.allclose(a, b, atol=1e-3) for i, a in enumerate(pictures) for b in pictures[:i])
    assert torch.equal(draw(both), pictures[-1])
    assert torch.equal(draw(both, 128, 128), draw(g, 128, 128))
    publish(TABLE, family.name, "2× stage", "✓")


REFUSED = {
    "SV3D": lambda: unet_of_another_task(comfy.model_base.SV3D_u),
    "SD ×4 upscaler": lambda: unet_of_another_task(comfy.model_base.SD_X4Upscaler),
    "Lotus": lambda: unet_of_another_task(comfy.model_base.Lotus),
    "PixArt": lambda: families.configured(hosts.PixArtAlpha, PIXART).get_model({}, device="cpu"),
}
PIXART = dict(
    image_model="pixart_alpha", input_size=None, patch_size=2, in_channels=4, hidden_size=32, depth=1, num_heads=2, caption_channels=16,
    pe_interpolation=1.0, model_max_length=8,
)  # fmt: skip


def unet_of_another_task(base: type) -> torch.nn.Module:
    return base(families.configured(hosts.SD15, families.V1), device="cpu")


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_what_is_supported(publish, name):
    with pytest.raises(ValueError) as caught:
        family_of(families.patcher(REFUSED[name]()), "FreeScale Scale Fusion")
    text = str(caught.value)
    assert text.startswith("FreeScale Scale Fusion › model = ") and "SDXL and its relatives, SD 1.x and SD 2.x" in text
    publish(TABLE, name, "2× stage", "refused, with a message")


# sampler, scheduler, steps, denoise → model calls, of which dilated; the schedules that the distilled models are made for
FEW_STEPS = {
    "Turbo, 4 steps": (dict(sampler_name="euler_ancestral", scheduler="sgm_uniform", steps=4, denoise=0.5), 1.0, 2, 2),
    "Lightning, 2 steps": (dict(sampler_name="euler", scheduler="sgm_uniform", steps=2), 0.7, 1, 1),
    "Lightning, 8 steps": (dict(sampler_name="euler", scheduler="sgm_uniform", steps=8), 0.7, 5, 3),
    "LCM, 4 steps": (dict(sampler_name="lcm", scheduler="sgm_uniform", steps=4), 0.7, 2, 1),
    "Hyper, 8 steps": (dict(sampler_name="ddim", scheduler="ddim_uniform", steps=8), 0.7, 6, 3),
}


@pytest.mark.parametrize("name", FEW_STEPS)
def test_few_steps(graph, draw, publish, name):
    """Restart and dilation are parts of the schedule, however short; a Turbo model's native size is given by hand."""
    settings, end_percent, calls, dilated = FEW_STEPS[name]
    native = {"native_size": 64} if "Turbo" in name else {}
    g = graph(FAMILIES["SDXL"])
    model, plain, seen = g.model.clone(), [], []
    model.add_wrapper_with_key(
        comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "test", lambda run, *a, **k: seen.append(1) or run(*a, **k)
    )
    path = f"diffusion_model.{g.family.dilated[0]}._conv_forward"
    before = model.get_model_object(path)
    model.add_object_patch(path, lambda x, w, b: plain.append(1) or before(x, w, b))
    patched = families.with_dilation(families.with_scale_fusion(model, **native), end_percent=end_percent, **native)
    side = 128 if native else 256
    draw(replace(g, model=patched), side, side, cfg=1.0, **settings)
    assert (len(seen), len(seen) - len(plain)) == (calls, dilated)
    publish("Few-step models (SDXL)", name, "Model calls", str(calls))
    publish("Few-step models (SDXL)", name, "of them dilated", str(dilated))
