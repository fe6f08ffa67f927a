"""LTX-2: a film nested with its sound. Scale Fusion is the film's alone, and a cascade hears the sound and leaves it as it is."""

import comfy.sample
import comfy.samplers
import dits
import families
import pytest
import torch
from comfy.nested_tensor import NestedTensor
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_lt import LTXVConcatAVLatent, LTXVSeparateAVLatent
from freescale.nodes.cascade.cascade import SelfCascadeUpscale
from freescale.nodes.host.stage.blend import BlendSampler
from staging import SETTINGS, film_cascade

KIND = dits.KINDS["LTX-2"]
SOUND = families.random(1, 8, 192, 16)  # as many tokens as 3 frames of 8 × 8 have
SHORT = SOUND[:, :, :20]


@pytest.fixture(scope="module")
def model():
    """One layer: in a second one the film would hear what the sound has seen of all of it."""
    return dits.build(KIND)


def answer(model, film, sound=SOUND):
    """What one step makes of both, through the host's whole sampling path."""
    noise, words = NestedTensor([film, sound]), dits.prompt(KIND)
    latent = NestedTensor([torch.zeros_like(film), torch.zeros_like(sound)])
    sampler = comfy.samplers.sampler_object("euler")
    sigmas = torch.tensor([0.6, 0.0])
    return comfy.sample.sample_custom(
        model, noise, 1.0, sampler, sigmas, words, words, latent, disable_pbar=True, seed=1
    ).unbind()


def test_a_window_is_the_native_model_on_that_part_of_the_film_with_all_of_the_sound(model):
    film = dits.latent(KIND, 256, 256)
    whole, _ = answer(dits.fusion(model, branches="local only", jitter=False), film)
    seen, drawn, inside = slice(1, 5), slice(2, 4), slice(1, 3)  # cells: the window around a block
    expected, _ = answer(model, film[..., seen, seen])
    assert (whole[..., drawn, drawn] - expected[..., inside, inside]).abs().max() <= KIND.rounding * expected.abs().max()
    other, _ = answer(model, film[..., seen, seen], sound=families.random(*SOUND.shape, seed=2))
    assert not torch.allclose(other, expected, rtol=1e-2)


def test_a_sub_grid_is_the_native_model_on_the_film_reduced_with_all_of_the_sound(model):
    film = dits.latent(KIND, 256, 256)
    whole, _ = answer(dits.fusion(model, branches="global only", global_attention="strided"), film)
    expected, _ = answer(model, film[..., 1::2, ::2])
    assert (whole[..., 1::2, ::2] - expected).abs().max() <= KIND.rounding * expected.abs().max()


def test_at_the_native_size_every_bit_is_the_hosts(model):
    film = dits.latent(KIND, 128, 128)
    assert all(map(torch.equal, answer(dits.fusion(model), film), answer(model, film)))


def test_the_attentions_of_the_sound_are_left_alone(model, caplog):
    """Also where it has as many tokens as the film: five attentions of a layer come as the host makes them."""
    calls, watched = [], model.clone()

    def watching(func, q, k, *args, **kwargs):
        calls.append((q.ndim, q.shape[-2], k.shape[-2]))
        return func(q, k, *args, **kwargs)

    watched.model_options["transformer_options"]["optimized_attention_override"] = watching
    answer(dits.fusion(watched, preset="Fast"), dits.latent(KIND, 256, 256))
    assert sorted(call for call in calls if call[0] == 3) == [(3, 192, 7)] * 2 + [(3, 192, 192)] * 3
    assert "FreeScale" not in caplog.text


def cascade(vae, stages, latent, seen=lambda x: None, **inputs):
    """IMAGE, LATENT and stages; `seen` gets what the model is given."""
    model = dits.fusion(dits.build(KIND), preset="Fast")

    def note(executor, x, *args, **kwargs):
        seen(x)
        return executor(x, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "a test", note)
    return film_cascade(vae, KIND, 10)(stages, model=model, latent_image=latent, **inputs)


@pytest.fixture(scope="module")
def vae(vae_of):
    return vae_of(KIND)


def both(sound=SHORT, **more):
    """A film of 9 pictures and its sound, by LTX's own node."""
    [latent] = families.host_node(
        LTXVConcatAVLatent, {"samples": dits.latent(KIND, 64, 64)[:, :, :2], **more}, {"samples": sound}
    )
    return latent


def test_a_cascade_hears_the_sound_and_leaves_every_bit_of_it(vae):
    heard = []
    image, latent, stages = cascade(vae, "1.5x, 2x", both(), heard.append)
    film, sound = (part["samples"] for part in families.host_node(LTXVSeparateAVLatent, latent))
    assert all(torch.equal(x[:1, 0, -SHORT.numel() :], SHORT.flatten(1)) for x in heard) and heard
    assert torch.equal(sound, SHORT) and film.shape == (1, 128, 2, 6, 6) and torch.isfinite(film).all()
    assert [picture.shape for picture in stages] == [(9, 96, 96, 3), (9, 192, 192, 3)] and torch.equal(stages[-1], image)
    assert torch.equal(cascade(vae, "1.5x, 2x", both())[0], image)
    assert not torch.allclose(cascade(vae, "1.5x, 2x", both(-SHORT))[0], image, atol=1e-3)
    silent, *_ = cascade(vae, "1.5x, 2x", {"samples": both()["samples"].unbind()[0]})
    assert silent.shape == image.shape and not torch.allclose(silent, image, atol=1e-3)


def test_a_mask_of_the_film_is_kept_and_goes_on(vae):
    """Its first frame is a picture that was given: nothing is drawn there."""
    mask = torch.ones(1, 1, 2, 1, 1)
    mask[:, :, 0] = 0
    start = both(noise_mask=mask)
    _, latent, _ = cascade(vae, "2x", start, resize_in="latent")
    _, drawn, _ = cascade(vae, "2x", both(), resize_in="latent")
    assert latent["noise_mask"] is start["noise_mask"]
    kept, free = latent["samples"].unbind()[0], drawn["samples"].unbind()[0]
    before = torch.nn.functional.interpolate(start["samples"].unbind()[0][:, :, 0], (4, 4), mode="bicubic")
    assert torch.allclose(kept[:, :, 0], before, atol=1e-5) and not torch.allclose(free[:, :, 0], before, atol=0.1)


def test_a_detail_map_is_the_films(vae):
    """An even one is the same number everywhere; another one changes the film where it differs."""
    plain, *_ = cascade(vae, "2x", both())
    even, *_ = cascade(vae, "2x", both(), detail_map=torch.full((1, 64, 64), SETTINGS["detail"]))
    half = torch.full((1, 64, 64), SETTINGS["detail"])
    half[:, :, 32:] = 50.0
    loose, *_ = cascade(vae, "2x", both(), detail_map=half)
    assert torch.allclose(even, plain, atol=1e-5) and not torch.allclose(loose, plain, atol=1e-2)


def test_colours_are_the_films(vae):
    """What holds them leaves the sound as it came, which lies in one tensor with the film."""
    (_, free, _), (_, held, _) = (cascade(vae, "2x", both(), color_fix=on) for on in (False, True))
    assert torch.equal(held["samples"].unbind()[1], SHORT)
    assert not torch.allclose(held["samples"].unbind()[0], free["samples"].unbind()[0], rtol=0, atol=1e-2)


def test_the_blend_holds_the_sound_too_where_both_are_drawn():
    """In a sampler of one's own: pulled all the way, what comes out before the last call is the reference at that noise."""
    words, sigmas = dits.prompt(KIND), torch.tensor([0.6, 0.3, 0.1])
    z, noise = both()["samples"], comfy.sample.prepare_noise(both()["samples"], 4)

    def drawn(detail, detail_map=None):
        sampler = BlendSampler(comfy.samplers.sampler_object("euler"), detail, detail_map)
        return comfy.sample.sample_custom(
            dits.build(KIND), noise, 1.0, sampler, sigmas, words, words, z, disable_pbar=True, seed=1
        ).unbind()

    held, free = drawn(2.0), drawn(1e6)
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(held, free))
    mapped = drawn(2.0, torch.full((1, 32, 32), 1e6))
    assert torch.allclose(mapped[0], free[0], atol=0.2) and not torch.allclose(mapped[1], free[1], atol=1e-3)


def test_a_model_that_draws_no_sound_refuses_it(vae):
    words = dits.prompt(KIND)
    wired = dict(model=dits.build(dits.KINDS["LTX-Video"]), positive=words, negative=words, vae=vae, latent_image=both())
    with pytest.raises(ValueError, match="latent_image = 'a film with its sound': the model draws no sound. Wire the video"):
        SelfCascadeUpscale.execute(stages="2x", **wired, **SETTINGS)
