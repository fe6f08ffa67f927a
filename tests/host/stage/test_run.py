"""Whole stages and chains of them, with the demo model and its VAE."""

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy_execution.graph import DynamicPrompt
from freescale.nodes.cascade.cascade import SelfCascadeUpscale
from freescale.nodes.host import pictures
from freescale.nodes.host.stage.blend import BlendSampler
from freescale.nodes.host.stage.plan import Stage
from freescale.nodes.host.stage.run import run_stage
from staging import SETTINGS, step


def cascade(demo, stages, **wired):
    """Run a SelfCascadeUpscale: let the node expand, then run its sub-graph; (picture, latent, pictures of all stages)."""
    values = dict(zip(("model", "positive", "negative", "vae"), ([value] for value in demo))) | {k: [v] for k, v in wired.items()}
    links = {name: [name, 0] for name in values}
    node = {"class_type": "SelfCascadeUpscale", "inputs": {**links, "stages": stages, **SETTINGS}}
    clone = SelfCascadeUpscale.PREPARE_CLASS_CLONE(None)
    clone.hidden.unique_id, clone.hidden.dynprompt = "1", DynamicPrompt({"1": node})
    given = {**{name: value for name, [value] in values.items()}, "stages": stages, **SETTINGS}
    output = clone.execute(**{name: [value] for name, value in given.items()})  # the host hands over lists
    results, names = dict(values), ("height", "width", *SETTINGS)
    for name, inner in output.expand.items():
        given = {k: results[v[0]][v[1]] if isinstance(v, list) else v for k, v in inner["inputs"].items()}
        if inner["class_type"] == "FreeScaleStagePictures":
            results[name] = [list(given["pictures"])]
            continue
        if inner["class_type"] == "PreviewImage":
            continue
        assert inner["class_type"] == "FreeScaleCascadeStage"
        parts = [given[k] for k in ("model", "positive", "negative", "vae")]
        picture, latent = run_stage(
            "node", *parts, Stage(**{k: given[k] for k in names}), given.get("latent_image"), given.get("image")
        )
        results[name] = [picture, latent, (*given.get("pictures", ()), picture)]
    return [results[link[0]][link[1]] for link in output.args]


def test_two_stages_equal_two_chained_single_stages_bit_for_bit(demo, small):
    """Whether the second cascade is fed by LATENT or by IMAGE: factors count from each node's own input."""
    picture, latent, all_pictures = cascade(demo, "1.5x, 1.7x", latent_image=small)
    assert [tuple(p.shape) for p in all_pictures] == [(1, 192, 192, 3), (1, 328, 328, 3)]
    first_picture, first_latent, _ = cascade(demo, "1.5x", latent_image=small)
    by_latent, by_image = cascade(demo, "1.7x", latent_image=first_latent), cascade(demo, "1.7x", image=first_picture)
    assert torch.equal(all_pictures[0], first_picture) and torch.equal(all_pictures[1], picture)
    for chained_picture, chained_latent, _ in (by_latent, by_image):
        assert torch.equal(chained_picture, picture) and torch.equal(chained_latent["samples"], latent["samples"])


def test_stage_equals_the_recipe_by_hand(demo, small):
    """Decode, bicubic, encode, one noise, the tail of the schedule, decode: SPEC §1's steps with the host's own parts."""
    model, positive, negative, vae = demo
    picture, latent = step(demo, 192, 160, small, steps=4)
    z = vae.encode(pictures.resize_image(vae.decode(small["samples"]), 192, 160))
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "ddim_uniform", 4)[1:]
    sampler = BlendSampler(comfy.samplers.sampler_object("euler"), 2.0)
    noise = comfy.sample.prepare_noise(z, 3)
    samples = comfy.sample.sample_custom(model, noise, 2.0, sampler, sigmas, positive, negative, z, seed=3, disable_pbar=True)
    assert torch.equal(latent["samples"], samples) and torch.equal(picture, vae.decode(samples))


def test_an_image_is_resized_directly(demo):
    """No trip through the VAE before the resize: the reference of a flat stage is the encoded picture itself."""
    image = torch.rand(1, 100, 76, 4, generator=torch.Generator().manual_seed(2))  # any size, even with transparency
    _, latent = step(demo, 128, 96, image=image, detail=0.0, denoise=0.01, steps=1000, cfg=1.0)
    z = demo[3].encode(pictures.resize_image(image, 128, 96))
    assert (latent["samples"] - z).abs().mean() < 0.1 * z.abs().mean()  # held all the way, from a σ of 0.1 only


def test_seeds(demo, small):
    a, b, c = (step(demo, 192, 192, small, seed=seed)[1]["samples"] for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.allclose(a, c, atol=1e-2)


def test_batch_of_two(demo, small):
    two = {"samples": torch.cat([small["samples"], small["samples"].flip(-1)])}
    pictures_, latent = step(demo, 192, 192, two)
    assert pictures_.shape == (2, 192, 192, 3) and latent["samples"].shape == (2, 4, 24, 24)
    alone, _ = step(demo, 192, 192, {"samples": two["samples"][:1]})
    # The first picture of a batch gets the noise that it would get alone.
    assert (pictures_[:1] - alone).abs().max() < 1e-3
    assert (pictures_[0] - pictures_[1]).abs().max() > 0.05
    picked, _ = step(demo, 192, 192, {"samples": two["samples"][1:], "batch_index": [1]})
    assert (picked - pictures_[1:]).abs().max() < 1e-3  # LatentFromBatch: the noise of picture 1


def test_uniform_detail_map_equals_the_scalar(demo, small):
    scalar, _ = step(demo, 192, 192, small, steps=4, detail=1.3)
    mapped, _ = step(demo, 192, 192, small, steps=4, detail=9.0, detail_map=torch.full((1, 77, 80), 1.3))
    assert (scalar - mapped).abs().max() < 1e-5
    assert (scalar - step(demo, 192, 192, small, steps=4, detail=9.0)[0]).abs().max() > 1e-3


def test_noise_mask_is_carried_and_obeyed(demo, small):
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., :64] = 1
    picture, latent = step(demo, 192, 192, {**small, "noise_mask": mask})
    assert latent["noise_mask"] is mask
    z = demo[3].encode(pictures.resize_image(demo[3].decode(small["samples"]), 192, 192))
    assert torch.allclose(latent["samples"][..., 14:], z[..., 14:], atol=1e-4)  # kept outside
    assert (latent["samples"][..., :10] - z[..., :10]).abs().mean() > 1e-2  # re-drawn inside
    further, again = step(demo, 256, 256, latent)
    assert again["noise_mask"] is mask and torch.isfinite(further).all()


@pytest.mark.parametrize("tiling", ["always", "never"])
@pytest.mark.parametrize("resize_in", ["pixels", "latent"])
def test_tiling_and_latent_resize(demo, small, tiling, resize_in):
    picture, latent = step(demo, 192, 192, small, vae_tiling=tiling, resize_in=resize_in)
    auto, _ = step(demo, 192, 192, small, resize_in=resize_in)
    assert picture.shape == (1, 192, 192, 3) and latent["samples"].shape == (1, 4, 24, 24)
    assert (picture - auto).abs().max() < (0.05 if tiling == "always" else 1e-6)


@pytest.mark.parametrize(
    ("wired", "words"),
    [
        ({}, ["latent_image, image = 'none'", "exactly one"]),
        (
            {"latent_image": {"samples": torch.zeros(1, 4, 16, 16)}, "image": torch.zeros(1, 128, 128, 3)},
            ["latent_image, image = 'both'"],
        ),
        (
            {"latent_image": {"samples": torch.zeros(1, 16, 16, 16)}},
            ["latent_image = [1, 16, 16, 16]", "[batch, 4, height, width]"],
        ),
        ({"latent_image": {"samples": torch.full((1, 4, 16, 16), float("nan"))}}, ["latent_image = 'NaN'"]),
        ({"image": torch.full((1, 128, 128, 3), float("nan"))}, ["image = 'NaN'"]),
    ],
)
def test_bad_pictures_are_refused(demo, wired, words):
    with pytest.raises(ValueError) as caught:
        cascade(demo, "2x", **wired)
    assert all(word in str(caught.value) for word in ["FreeScale Cascade › ", *words])


def test_stages_that_shrink_are_refused(demo, small):
    with pytest.raises(ValueError, match="FreeScale Cascade › stages = '64x64': 64x64 is smaller than the 128x128 picture"):
        cascade(demo, "64x64", latent_image=small)


def test_a_list_of_pictures_is_refused(demo):
    """Without that, ComfyUI would expand the node once per picture, each time wired to all of them."""
    given = dict(zip(("model", "positive", "negative", "vae"), demo), stages="2x", **SETTINGS)
    lists = {name: [value] for name, value in given.items()} | {"image": [torch.rand(1, 64, 64, 3)] * 2}
    with pytest.raises(ValueError, match="FreeScale Cascade › image = 'a list of 2': .*one picture"):
        SelfCascadeUpscale.execute(**lists)
