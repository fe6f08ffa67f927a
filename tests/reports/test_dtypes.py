"""Pictures, masks and latents in 16 bits, as hosts may keep them."""

import json

import comfy.sample
import comfy.samplers
import pytest
import torch
from freescale.nodes.host.stage.blend import BlendSampler
from freescale.nodes.host.stage.samplers import MULTI_STEP, ONE_STEP, REPLANNED
from freescale.nodes.region.region_detail import RegionDetailMask

SIZE, SIGMAS = (8, 8), torch.tensor([6.0, 3.0, 1.4, 0.6, 0.2, 0.0])
NEVER = 1e9  # as detail: c = (< 1)^1e9 = 0
# One of every class: deterministic, ancestral and stochastic ones of a step, with a history, with another guidance, replanned.
KINDS = ["euler", "heun", "euler_ancestral", "euler_cfg_pp", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "lms", "ddim", *REPLANNED]


def test_there_is_one_of_every_class():
    assert {*KINDS} & {*ONE_STEP} and {*KINDS} & {*MULTI_STEP} and {*REPLANNED} <= {*KINDS}


def region(text, feather, image, mask):
    """(α [B, H, W], mask, overlay) of the node."""
    values = dict(regions=text, detail_inside=3.0, detail_outside=0.5, feather=feather)
    return RegionDetailMask.execute(**values, image=image, mask=mask).args


def host(name):
    return comfy.samplers.sampler_object(name)


def blended(name, detail, **more):
    return BlendSampler(host(name), detail, **more)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_pictures_and_masks_in_half_precision_make_the_same_map(dtype):
    """ComfyUI-DyPE#41, --fp16-intermediates: "expected dtype float for `end` but got dtype c10::Half"."""
    image = torch.rand(1, 40, 48, 3, generator=torch.Generator().manual_seed(3)).to(dtype)
    mask = (image[..., 0] > 0.5).to(dtype)
    stroke = {"kind": "stroke", "detail": 5.0, "radius": 500, "points": [2000, 2000, 3000, 3000]}
    text = json.dumps({"version": 1, "shapes": [stroke]})
    alpha, soft, overlay = region(text, 2.0, image, mask)
    expected = region(text, 2.0, image.float(), mask.float())
    assert torch.equal(alpha, expected[0]) and torch.equal(soft, expected[1])
    assert overlay.dtype == dtype and torch.equal(overlay, expected[2].to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("mapped", [False, True])
def test_latents_in_half_precision(sketch, prompts, dtype, name, mapped):
    """A float16 LATENT, euler, through the blend: a RuntimeError in `blend`. With c ≡ 0 it is what the host makes of such a latent, to the
    rounding of its σ: by intervals they are float32 sooner."""

    def drawn(latent, sampler):
        noise = comfy.sample.prepare_noise(latent, 5)
        return comfy.sample.sample_custom(sketch, noise, 2.0, sampler, SIGMAS, *prompts, latent, seed=5, disable_pbar=True)

    latent = torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(9)).to(dtype)
    own, expected = drawn(latent, blended(name, NEVER)), drawn(latent, host(name))
    assert own.dtype == expected.dtype and torch.isfinite(own).all()
    if name not in REPLANNED:  # they plan over the whole run, and differ from the host's in float32, too
        assert (own - expected).abs().max() < 4 * torch.finfo(dtype).eps * expected.abs().max()
    detail_map = torch.full((1, *SIZE), 2.0) if mapped else None
    blend = drawn(latent, blended(name, 2.0, detail_map=detail_map))
    assert torch.isfinite(blend).all() and not torch.allclose(blend, expected, rtol=1e-2)
