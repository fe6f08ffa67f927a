"""The cascade on LTX's films: cells of 32 px, a frame for 8, and guides among the frames."""

import comfy.supported_models as hosts
import dits
import families
import pytest
import torch
from comfy_extras.nodes_lt import LTXVAddGuide, LTXVCropGuides, LTXVImgToVideo
from dits import KINDS
from freescale.nodes.host import pictures
from freescale.nodes.host.family import family_of
from staging import film_cascade

LTX = KINDS["LTX-Video"]


@pytest.fixture(scope="module")
def vae(vae_of):
    return vae_of(LTX)


@pytest.fixture(scope="module")
def cascade(vae):
    return film_cascade(vae, LTX, 10)


@pytest.mark.parametrize("resize_in", ["pixels", "latent"])
def test_a_film_is_enlarged_in_stages(cascade, resize_in):
    """2 latent frames are 9 pictures; sides are multiples of 32 px."""
    start = {"samples": dits.latent(LTX, 64, 96)[:, :, :2]}
    image, latent, stages = cascade("1.5x, 2x", latent_image=start, resize_in=resize_in)
    assert latent["samples"].shape == (1, 128, 2, 6, 8) and torch.isfinite(latent["samples"]).all()
    assert [picture.shape for picture in stages] == [(9, 96, 128, 3), (9, 192, 256, 3)]
    again = cascade("1.5x, 2x", latent_image=start, resize_in=resize_in)
    assert torch.equal(again[0], image)


def test_a_film_of_pictures_is_one_film(cascade, vae):
    film = pictures.decode(vae, dits.latent(LTX, 64, 64)[:, :, :2], "never").clamp(0, 1)
    image, latent, _ = cascade("2x", image=film)
    assert image.shape == (9, 128, 128, 3) and latent["samples"].shape == (1, 128, 2, 4, 4)
    with pytest.raises(ValueError, match=r"image = '8 frames'.*has 1, 9, 17 … frames\. Leave the last 7 out"):
        cascade("2x", image=film[:8])


def test_the_first_frame_of_an_image_to_video_film_stays_what_it_was_enlarged_to(cascade, vae):
    """LTX's own node masks it; the mask goes with the film from stage to stage."""
    picture, words = families.random(1, 64, 64, 3).sigmoid(), dits.prompt(LTX)
    *_, start = families.host_node(LTXVImgToVideo, words, words, picture, vae, 64, 64, 9, 1, 1.0)
    start["samples"] = torch.cat([start["samples"][:, :, :1], dits.latent(LTX, 64, 64)[:, :, 1:2]], 2)
    _, latent, _ = cascade("2x", latent_image=start, resize_in="latent")
    expected = pictures.resize_latent(start["samples"], 4, 4)
    assert torch.allclose(latent["samples"][:, :, 0], expected[:, :, 0], atol=1e-5)
    assert not torch.allclose(latent["samples"][:, :, 1], expected[:, :, 1], atol=0.1)
    assert torch.equal(latent["noise_mask"], start["noise_mask"])


@pytest.mark.parametrize(("heads", "native"), [(32, (512, 768)), (64, (704, 1216))], ids=["2B", "13B"])
def test_its_native_size_is_known_by_its_width(heads, native):
    """And a call's memory is counted by that width: 7 tensors of 4 bytes for each of 24 × 16 tokens and 3 frames."""
    unet = {**dits.LTX, "num_layers": 0, "num_attention_heads": heads, "attention_head_dim": 64}
    config = families.configured(hosts.LTXV, unet, native=None)
    family = family_of(families.patcher(config.get_model({}, "", device="meta")))
    assert family.native == native and family.side_step == 32
    assert family.call_bytes(3, 512, 768) == 7 * heads * 64 * 4 * 3 * 24 * 16


@pytest.fixture
def guided(vae):
    """Prompts and a latent of 4 × 4 cells with a guide frame for its end, by LTX's own node."""
    words, film = dits.prompt(LTX), {"samples": dits.latent(LTX, 64, 64)}
    guide = families.random(1, 64, 64, 3).sigmoid()
    return families.host_node(LTXVAddGuide, words, words, vae, film, guide, 16, 1.0)


def test_guides_are_refused_before_work_with_the_node_that_takes_them_away(cascade, guided):
    positive, negative, film = guided
    with pytest.raises(ValueError, match="positive = 'keyframe_idxs'.*Put LTXVCropGuides before"):
        cascade("2x", positive=positive, negative=negative, latent_image=film)
    positive, negative, film = families.host_node(LTXVCropGuides, positive, negative, film)
    image, *_ = cascade("2x", positive=positive, negative=negative, latent_image=film)
    assert image.shape == (17, 128, 128, 3)
