"""How a model's weights are held and run: small dtypes, weights streamed in pieces, torch.compile."""

from dataclasses import replace

import comfy.model_management
import dits
import families
import pytest
import torch
from comfy_extras.nodes_torch_compile import TorchCompileModel
from dynamic_vram import *  # noqa: F403
from dynamic_vram import every_kind
from families import FAMILIES, host_node
from quantised import Gguf, Nf4, quantised

TABLE = "Weights and execution"
SDXL, FLUX, Z_IMAGE = FAMILIES["SDXL"], dits.KINDS["FLUX.1"], dits.KINDS["Z-Image"]
every_family = pytest.mark.parametrize("family", [SDXL, FLUX, Z_IMAGE], ids=lambda family: family.name)


def ours(g):
    return replace(g, model=families.with_dilation(families.with_scale_fusion(g.model)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
@every_family
def test_small_dtypes(draw, publish, family, dtype):
    """The same picture as from float32 weights that were rounded to that type."""
    small, rounded = (dits.maker(family).graph(family, dtype=d) for d in (dtype, torch.float32))
    for parameter in rounded.model.model.diffusion_model.parameters():
        parameter.copy_(parameter.to(dtype).float())
    assert next(small.model.model.diffusion_model.parameters()).dtype == dtype
    picture = draw(ours(small))
    assert torch.allclose(picture, draw(ours(rounded)), atol=1e-3 * float(picture.abs().max()))
    assert not torch.allclose(picture, draw(small), atol=1e-2)
    publish(TABLE, str(dtype).removeprefix("torch.") + " weights", family.name, "✓")


@every_family
@pytest.mark.parametrize(("operations", "name"), [(Gguf, "GGUF"), (Nf4, "NF4")], ids=["GGUF", "NF4"])
def test_quantised_layers_of_other_packs(draw, publish, family, operations, name):
    """The same picture as from the host's own layers with weights that were rounded as much."""
    models = quantised(family, operations)
    small, rounded = (replace(dits.maker(family).graph(family), model=model) for model in models)
    picture = draw(ours(small))
    assert torch.allclose(picture, draw(ours(rounded)), atol=1e-3 * float(picture.abs().max()))
    assert not torch.allclose(picture, draw(small), atol=1e-2)
    publish(TABLE, f"{name} weights", family.name, "✓", note="layers of another pack's class")


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float16, 0.01), (torch.bfloat16, 0.3)], ids=str)  # 0.19 is FLUX.1's own
@every_family
def test_computes_in_small_dtypes(graph, draw, publish, family, dtype, rounding):
    """As on a GPU: off from float32 by what the model itself is off without our patches, give or take."""
    small, exact = dits.maker(family).graph(family, dtype=dtype, computes=dtype), graph(family)
    assert small.model.model.manual_cast_dtype is None

    def error(wire):
        expected = draw(wire(exact))
        return float((draw(wire(small)) - expected).abs().mean() / expected.abs().mean())

    assert error(ours) < 1.5 * error(lambda g: g) + 1e-3 < rounding
    publish(TABLE, f"computing in {str(dtype).removeprefix('torch.')}", family.name, "✓")


def test_streamed_weights(graph, publish):
    """Low VRAM: layers stay outside the device and are brought in one by one, with a LoRA applied on the way."""
    g = graph(SDXL)
    key = f"diffusion_model.{SDXL.dilated[0]}.weight"
    change = 0.1 * families.random(*g.model.model.state_dict()[key].shape)

    def call(streamed):
        model = ours(g).model
        model.add_patches({key: (change,)}, 1.0)
        device = comfy.model_management.get_torch_device()
        model.patch_model(device, lowvram_model_memory=1 if streamed else 0)
        assert model.model.model_lowvram == streamed
        options = {**model.model_options["transformer_options"], "wrappers": model.wrappers, "cond_or_uncond": [0]}
        sigma, y = torch.tensor([2.0]), families.random(1, SDXL.unet["adm_in_channels"])
        try:
            return model.model.apply_model(
                families.random(1, 4, 32, 32).to(device), sigma.to(device), c_crossattn=g.positive[0][0], transformer_options=options, y=y
            )  # fmt: skip
        finally:
            model.unpatch_model(comfy.model_management.unet_offload_device())

    assert torch.equal(call(streamed=True), call(streamed=False))
    publish(TABLE, "Low VRAM (streamed weights)", "SDXL", "✓")


@every_kind
@pytest.mark.parametrize(
    ("family", "backend"),  # eager generates no code
    [(SDXL, "eager"), (FLUX, "eager"), pytest.param(SDXL, "inductor", marks=pytest.mark.long)],
    ids=lambda value: getattr(value, "name", value),
)
def test_torch_compile_in_both_orders(graph, loaded, draw, publish, family, backend, kind):
    """A compiled model still dilates, fuses and draws its windows anew at every size and step; also made once more without dynamic VRAM."""
    plain = graph(family)
    expected, native = draw(ours(plain)), draw(plain, 128, 128)
    for wire in (lambda g: compiled(ours(g), backend), lambda g: ours(compiled(g, backend))):
        torch._dynamo.reset()
        g = wire(replace(plain, model=loaded(family, kind)))
        for size, picture in ((256, expected), (128, native), (256, expected)):
            assert torch.allclose(draw(g, size, size), picture, atol=1e-3 * float(picture.abs().max()))
    note = "calls under Scale Fusion run uncompiled, all others compiled; with dynamic VRAM, too"
    publish(TABLE, "TorchCompileModel", family.name, "✓", note=note)


def compiled(g, backend):
    return replace(g, model=host_node(TorchCompileModel, g.model, backend)[0])
