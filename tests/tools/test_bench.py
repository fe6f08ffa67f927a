"""The bench's own code at tiny sizes: it runs, and what it compares draws the same."""

from argparse import Namespace
from dataclasses import replace

import families
import growth
import layer
import measure
import pipeline
import pytest
import torch
import transformer
import unet
from freescale.freescale_core.geometry import enlargement

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture(autouse=True)
def inference_mode():
    with torch.inference_mode():
        yield


def test_flop_of_attention_are_those_of_its_products():
    """Four projections of n × C × C, and two products of n × n × C; a multiplication and an addition each."""
    n, width = 16 * 16, 128
    plain = layer.case(width, 8, 2, META, torch.float32)["plain attention"]
    assert measure.flop(plain) == 2 * (4 * n * width**2 + 2 * n * n * width)


def test_a_layer_is_measured_and_told():
    args = Namespace(width=64, native=4, scale=2, repeats=2, device=CPU, dtype=torch.float32, rates={"flop_per_second": 1e12})
    [(_, results)] = layer.run(args).items()
    assert len(results) == 7
    for result in results.values():
        assert len(result["seconds"]) == 2 and result["peak_bytes"] > 0 and result["flop"] > 0


@pytest.mark.parametrize("blur", ["hw", "hwd"])
def test_the_authors_u_net_and_ours_draw_the_same(blur):
    model = families.build(families.FAMILIES["SDXL"])
    call = lambda patched: unet.call(patched, 256, 1, CPU, torch.float32)()  # noqa: E731
    plain, authors = call(model), call(unet.authors(model, enlargement(256, 256, families.NATIVE), blur))
    torch.testing.assert_close(
        authors, call(families.with_scale_fusion(model, jitter=False, blur_axes=blur)), atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(authors, plain, atol=1e-3)
    assert torch.equal(call(model), plain)  # nothing stays behind


def test_the_count_of_memory_equals_that_of_a_real_call():
    model, empty = (families.build(families.FAMILIES["SDXL"]) for _ in range(2))
    empty.model.diffusion_model.to("meta")
    for settings in ({}, {"blur_axes": "hwd"}):
        patched, counted = (families.with_scale_fusion(m, **settings) for m in (model, empty))
        taken = measure.peak(unet.call(patched, 384, 1, CPU, torch.float32), CPU)
        assert abs(unet.counted(counted, 384, 1, torch.float32) / taken - 1) < 0.02


def test_growth_is_that_of_windows_and_not_of_the_picture():
    found = growth.run(Namespace(sides=[1024, 4096], depth=0.1))
    assert len({of[1024]["flop"] for of in found.values()}) == 1, "at the native size all rest"
    work = {name: of[4096]["flop"] / found["without FreeScale"][4096]["flop"] for name, of in found.items()}
    assert work["Draft"] < work["Fast"] < 0.5 < work["Balanced"] < 1 < work["Exact"] < 1.2
    assert all(of[4096]["operators"] < 5 * of[1024]["operators"] for of in found.values())


@pytest.mark.parametrize("name", transformer.MODELS)
def test_a_fast_call_of_a_transformer_is_less_work_than_direct_sampling(name):
    """At the real width; the layers are alike, so that few of them tell. It grows with the picture, not with its square."""
    found = transformer.run_model(name, transformer.MODELS[name], Namespace(sides=[2048, 4096], seconds=[], depth=0))
    direct, fast, exact = (found["flop"][way] for way in ("direct", "Fast", "Exact"))
    assert fast[2048] <= 0.85 * direct[2048] and fast[4096] <= 0.35 * direct[4096]
    assert fast[4096] == pytest.approx(4 * fast[2048], rel=0.05) and exact[4096] > direct[4096]


def test_the_count_of_a_transformers_memory_is_near_that_of_a_real_call(monkeypatch):
    monkeypatch.setattr(transformer, "TEXT_TOKENS", 16)
    small = dict(hidden_size=64, num_heads=2, axes_dim=[8, 12, 12], depth=1, depth_single_blocks=1)
    flux = replace(transformer.MODELS["FLUX.1-dev"], network=transformer.MODELS["FLUX.1-dev"].network | small)
    empty, real = (flux.build(1, torch.float32, device) for device in (META, CPU))
    for way in ("direct", "Fast"):
        counted, taken = (
            measure.peak(transformer.call(transformer.variants(model)[way], 4096, 2048, device, torch.float32, **more), device)
            for model, device, more in (
                (empty, META, dict(optimized_attention_override=transformer.no_attention)),
                (real, CPU, {}),
            )
        )
        assert counted == pytest.approx(taken, rel=0.1)


def test_seconds_of_whole_pictures_are_told_by_their_parts(monkeypatch):
    """With a small network and VAE; the parts are within the whole."""
    monkeypatch.setattr(unet, "build", lambda *_: families.build(families.FAMILIES["SDXL"], native=64))
    monkeypatch.setattr(pipeline, "VAE", {**pipeline.VAE, "ch": 32})
    monkeypatch.setattr(pipeline, "TEXT_TOKENS", 7)
    ways = ["FreeScale", "direct", "tiled re-drawing", pipeline.AUTHORS]
    args = Namespace(native=64, depth=1, steps=[2], ways=ways, repeats=1, device=CPU, dtype=torch.float32)
    [(_, results)] = pipeline.run(args).items()
    assert list(results) == ways
    for name, result in results.items():
        [whole], [parts] = result["seconds"], result["parts"]
        assert result["calls"] == {"FreeScale": 4, "direct": 2, "tiled re-drawing": 2 + 2 * 20, pipeline.AUTHORS: 4}[name]
        assert 0 < sum(parts.values()) < whole and parts["network"] > 0 and parts["decode"] > 0
        assert (parts["encode"] > 0) == (name != "direct")
