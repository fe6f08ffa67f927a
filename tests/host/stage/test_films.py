"""The cascade on films: every frame is enlarged, all of them are drawn together, and messages speak of frames."""

from dataclasses import replace

import comfy.model_management
import dits
import families
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_wan import WanFirstLastFrameToVideo, WanImageToVideo
from dits import KINDS
from freescale.nodes.host import pictures
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.enlarge import with_pictures
from freescale.nodes.host.stage.run import run_stage
from staging import film_cascade, stage

WAN = KINDS["Wan"]


@pytest.fixture(scope="module")
def vae(vae_of):
    return vae_of(WAN)


@pytest.fixture(scope="module")
def cascade(vae):
    return film_cascade(vae, WAN, 6)


@pytest.mark.parametrize("resize_in", ["pixels", "latent"])
def test_a_film_is_enlarged_in_stages(cascade, resize_in):
    """Two films of 2 latent frames, 5 pictures each; the same seed gives the same bits."""
    start = {"samples": dits.latent(WAN, 64, 96, batch=2)[:, :, :2]}
    image, latent, stages = cascade("1.5x, 1.5x", latent_image=start, resize_in=resize_in)
    assert latent["samples"].shape == (2, 16, 2, 18, 28) and torch.isfinite(latent["samples"]).all()
    assert [picture.shape for picture in stages] == [(10, 96, 144, 3), (10, 144, 224, 3)]
    again = cascade("1.5x, 1.5x", latent_image=start, resize_in=resize_in)
    assert torch.equal(again[0], image)


def test_a_film_of_pictures_is_one_film(cascade, vae):
    """An IMAGE of 9 pictures is enlarged as the latent that the VAE makes of it is."""
    film = pictures.decode(vae, dits.latent(WAN, 64, 64), "never").clamp(0, 1)
    image, latent, _ = cascade("2x", image=film)
    assert image.shape == (9, 128, 128, 3) and latent["samples"].shape == (1, 16, 3, 16, 16)
    tiled, *_ = cascade("2x", image=film, vae_tiling="always")
    assert tiled.shape == image.shape


def test_films_are_encoded_one_by_one(vae):
    """Two films in one batch are what each of them is alone: the VAE never takes both for one."""
    films = torch.rand(10, 64, 64, 3, generator=torch.Generator().manual_seed(2))
    together = pictures.encode(vae, films, "never", frames=5)
    assert torch.equal(together, torch.cat([vae.encode(film) for film in films.split(5)])) and together.shape[2] == 2


def test_the_latent_resize_leaves_time_alone():
    film = torch.rand(2, 16, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    large = pictures.resize_latent(film, 16, 12)
    for frame in range(3):
        assert torch.equal(large[:, :, frame], pictures.resize_latent(film[:, :, frame], 16, 12))


def test_the_first_frame_of_an_image_to_video_model_is_enlarged_as_a_picture(vae):
    """What the network gets is the film that Wan's own node would make at the stage's size: a sharp first frame, the rest grey."""
    kind = replace(WAN, host="WAN21_I2V", unet={**WAN.unet, "model_type": "i2v", "in_dim": 36})
    seen, model = [], dits.build(kind)

    def note(executor, x, t, c_concat, *args, **kwargs):
        seen.append(c_concat)
        return executor(x, t, c_concat, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "a test", note)
    words, start = dits.prompt(kind), families.random(1, 64, 64, 3).sigmoid()
    *words, film = families.host_node(WanImageToVideo, words, words, vae, 64, 64, 9, 1, start_image=start)
    settings = stage(96, 96, scheduler="simple", denoise=0.75, steps=6)
    run_stage("node", model, *words, vae, settings, {"samples": film["samples"] + 0.1}, None)

    before = pictures.decode(vae, words[0][0][1]["concat_latent_image"], "never")
    expected = torch.full((9, 96, 96, 3), 0.5)
    expected[0] = pictures.resize_image(before[:1], 96, 96)[0]
    latent = model.model.process_latent_in(vae.encode(expected))
    assert all(torch.allclose(concat[:1, 4:], latent, atol=1e-5) for concat in seen) and seen


def made_up(vae, latent, mask):
    """What a stage of 96 px makes of a latent beside the film's."""
    [[(_, values)]] = with_pictures(
        family_of(dits.build(WAN)), vae, stage(96, 96), [[None, {"concat_latent_image": latent, "concat_mask": mask}]]
    )
    return values["concat_latent_image"]


def test_first_and_last_frames_are_kept_and_what_lies_between_is_grey(vae):
    """Of two films with one mask, as Wan's own node makes it: a row for each picture of a latent's frame."""
    start, end = families.random(2, 1, 64, 64, 3).sigmoid()
    [[_, values]], *_ = families.host_node(
        WanFirstLastFrameToVideo, dits.prompt(WAN), [], vae, 64, 64, 9, 1, start_image=start, end_image=end
    )
    both = torch.cat([values["concat_latent_image"], dits.latent(WAN, 64, 64)])
    expected = []
    for film in both:
        before = pictures.resize_image(pictures.decode(vae, film[None], "never"), 96, 96)
        before[1:-1] = 0.5
        expected.append(vae.encode(before))
    assert torch.allclose(made_up(vae, both, values["concat_mask"]), torch.cat(expected), atol=1e-5)


def test_latent_frames_without_any_picture_stay_without(vae):
    """Wan's camera node leaves what is to be made up at zero for the network, which is a number for each channel of the VAE's."""
    latent = dits.latent(WAN, 64, 64)
    latent[:, :, 1:] = torch.arange(16.0).view(1, 16, 1, 1, 1)
    made = made_up(vae, latent, None)
    assert made.shape[-2:] == (12, 12) and torch.equal(made[:, :, 1:], latent[:, :, 1:, :1, :1].expand_as(made[:, :, 1:]))
    assert made[:, :, 0].std() > 0


def test_what_no_vae_made_is_left_to_the_host(vae):
    """Features that were moved along tracks have a mask between 0 and 1."""
    latent = dits.latent(WAN, 64, 64)
    assert made_up(vae, latent, torch.full((1, 4, 3, 8, 8), 0.5)) is latent


def test_a_conditioning_picture_of_another_aspect_loses_its_sides_as_in_the_host():
    image = torch.arange(64.0).view(1, 1, 64, 1).expand(1, 32, 64, 3)
    assert pictures.middle(image, 96, 96)[0, 0, :, 0].tolist() == list(range(16, 48))
    assert pictures.middle(image, 32, 64).shape == image.shape


@pytest.mark.parametrize("held", ["vace_frames", "camera_conditions"])
def test_what_has_one_size_is_refused_before_work(cascade, held):
    [[words, values]] = dits.prompt(WAN)
    with pytest.raises(ValueError, match=f"positive = '{held}'.*one size.*from before that node"):
        cascade("2x", positive=[[words, {**values, held: [0]}]], latent_image={"samples": dits.latent(WAN, 64, 64)})


def test_a_reference_that_the_network_has_no_layer_for_is_no_reason_to_refuse(cascade):
    """Of Wan's networks all have the layer's name; those of Fun have the layer."""
    [[words, values]] = dits.prompt(WAN)
    held = [[words, {**values, "reference_latents": [dits.latent(WAN, 64, 64)]}]]
    image, *_ = cascade("1.5x", positive=held, latent_image={"samples": dits.latent(WAN, 64, 64)[:, :, :1]})
    assert image.shape == (1, 96, 96, 3)
    with pytest.raises(ValueError, match="positive = 'reference_latents'.*one size"):
        fun = dits.build(WAN, in_dim_ref_conv=16)
        cascade("1.5x", model=fun, positive=held, latent_image={"samples": dits.latent(WAN, 64, 64)})


def test_a_vae_of_pictures_is_refused(cascade, vae_of):
    with pytest.raises(ValueError, match="vae = 'one of pictures'.*draws films"):
        cascade("2x", vae=vae_of(KINDS["FLUX.1"]), image=torch.rand(5, 64, 64, 3))


def test_a_number_of_pictures_that_is_no_film_is_refused(cascade):
    with pytest.raises(ValueError, match=r"image = '7 frames'.*has 1, 5, 9 … frames\. Leave the last 2 out"):
        cascade("2x", image=torch.rand(7, 64, 64, 3))


def test_a_person_is_told_what_the_pictures_of_a_film_take(vae):
    """3 latent frames are 9 pictures of 128 × 128 × 3 numbers."""
    shown, words = [], dits.prompt(WAN)
    settings = stage(128, 128, scheduler="simple", denoise=0.75, steps=6)
    film = {"samples": dits.latent(WAN, 64, 64)}
    run_stage("node", dits.build(WAN), words, words, vae, settings, film, None, shown.append)
    assert shown[0].startswith("1 steps, at least 0 MB beside the model and 2 MB of RAM for the film's pictures")


def test_memory_counts_every_frame(cascade, monkeypatch):
    """A device that would hold two frames of three is refused before work starts."""
    total = 2 * family_of(dits.build(WAN)).call_bytes(1, 128, 128)
    monkeypatch.setattr(comfy.model_management, "get_total_memory", lambda device: total)
    with pytest.raises(ValueError, match="128x128 px, 3 pictures or frames at once, takes at least"):
        cascade("2x", latent_image={"samples": dits.latent(WAN, 64, 64)})
