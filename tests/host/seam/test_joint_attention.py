"""Transformers: a window is a native picture, a sub-grid is a native picture, and everything around stays as it was."""

import logging
import math

import comfy.model_management
import comfy.sample
import comfy.samplers
import dits
import families
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_lt import LTXVAddGuide
from dits import KINDS, fusion, predicted

SIZES = [(256, 256), (208, 304), (416, 144)]  # px: even, and odd numbers of tokens; the last one's native picture is padded
FLUX = KINDS["FLUX.1"]
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture(scope="module")
def shallow():
    """A MODEL of each kind with one layer of attention over the picture."""
    return {kind.host: dits.build(kind, one_layer=True) for kind in KINDS.values()}


def tokens_of(x, kind):
    """A latent as [..., h, w, patch, patch]."""
    h, w = (side // kind.patch for side in x.shape[-2:])
    return x.unflatten(-1, (w, kind.patch)).unflatten(-3, (h, kind.patch)).transpose(-2, -3).clone()


def latent_of(tokens):
    return tokens.transpose(-2, -3).flatten(-2).flatten(-3, -2)


def sizes_of(kind):
    return [size for size in SIZES if all(side % (kind.cell * kind.patch) == 0 for side in size)]


@every_kind
@pytest.mark.parametrize("size", SIZES)
def test_a_window_is_the_native_model_on_that_part_of_the_picture(shallow, kind, size):
    """Text is turned to where the window's own would be; with its keys left alone the same is off by a hundredth and more."""
    if size not in sizes_of(kind):
        return
    model, x = shallow[kind.host], dits.latent(kind, *size)
    patched = fusion(model, branches="local only", jitter=False)
    whole, parts = tokens_of(predicted(patched, kind, x), kind), tokens_of(x, kind)
    grid = parts.shape[-4:-2]
    native = {(256, 256): (128, 128), (208, 304): (128, 128), (416, 144): (192, 64)}[size]
    window = tuple(min(side // (kind.cell * kind.patch), length) for side, length in zip(native, grid))
    block = tuple(side // 2 for side in window)
    checked = 0
    for top in range(0, grid[0], block[0]):
        for left in range(0, grid[1], block[1]):
            y, x0 = (
                min(max(start - (side - part) // 2, 0), length - side)
                for start, side, part, length in zip((top, left), window, block, grid)
            )
            crop = latent_of(parts[..., y : y + window[0], x0 : x0 + window[1], :, :])
            expected = tokens_of(predicted(model, kind, crop), kind)
            rows, columns = slice(top - y, top - y + block[0]), slice(left - x0, left - x0 + block[1])
            found = whole[..., top : top + block[0], left : left + block[1], :, :]
            within = expected[..., rows, columns, :, :][..., : found.shape[-4], : found.shape[-3], :, :]
            assert (found - within).abs().max() <= kind.rounding * expected.abs().max()
            checked += 1
    assert checked >= 4
    assert (whole - tokens_of(predicted(model, kind, x), kind)).abs().max() > 1e-3 * whole.abs().max()


def test_a_reference_frame_before_a_film_has_its_part_in_every_window():
    """Wan Fun: one frame more than the latent has, of which a window sees the same part."""
    kind = KINDS["Wan"]
    model, x = dits.build(kind, in_dim_ref_conv=16), dits.latent(kind, 256, 256)
    reference = dits.latent(kind, 256, 256, seed=3)[:, :, :1]
    patched = fusion(model, branches="local only", jitter=False)
    whole = predicted(patched, kind, x, reference_latents=[reference])
    seen, drawn, inside = (slice(2 * a, 2 * b) for a, b in ((2, 10), (4, 8), (2, 6)))  # cells: the window around a block
    part = {"reference_latents": [reference[..., seen, seen]]}
    expected = predicted(model, kind, x[..., seen, seen], **part)
    assert (whole[..., drawn, drawn] - expected[..., inside, inside]).abs().max() <= 3e-5 * expected.abs().max()
    assert not torch.allclose(whole, predicted(patched, kind, x), rtol=1e-3)


def test_guide_frames_after_a_film_have_their_part_in_every_window():
    """LTX: frames of the latent, at a time of their own."""
    kind = KINDS["LTX-Video"]
    model, x = dits.build(kind), dits.latent(kind, 256, 256)
    x = torch.cat([x, dits.latent(kind, 256, 256, seed=3)[:, :, :1]], 2)

    def guided(patched, x):
        [[_, guide]] = LTXVAddGuide.add_keyframe_index([[None, {}]], 16, x[:, :, 3:], (8, 32, 32))
        return predicted(patched, kind, x, **guide, concat_mask=torch.ones(1, 1, *x.shape[2:]))

    whole = guided(fusion(model, branches="local only", jitter=False), x)
    seen, drawn, inside = slice(1, 5), slice(2, 4), slice(1, 3)  # cells: the window around a block
    expected = guided(model, x[..., seen, seen])
    assert (whole[..., drawn, drawn] - expected[..., inside, inside]).abs().max() <= kind.rounding * expected.abs().max()
    assert not torch.allclose(whole, predicted(fusion(model, branches="local only", jitter=False), kind, x), rtol=1e-3)


@every_kind
def test_a_sub_grid_is_the_native_model_on_the_picture_reduced(shallow, kind):
    model, x = shallow[kind.host], dits.latent(kind, 256, 256)
    whole = tokens_of(predicted(fusion(model, branches="global only", global_attention="strided"), kind, x), kind)
    for a in range(2):
        for b in range(2):
            lattice = (..., slice(a, None, 2), slice(b, None, 2), slice(None), slice(None))
            expected = tokens_of(predicted(model, kind, latent_of(tokens_of(x, kind)[lattice])), kind)
            assert (whole[lattice] - expected).abs().max() <= kind.rounding * expected.abs().max()


@every_kind
def test_at_the_native_size_every_bit_is_the_hosts(shallow, kind):
    model, x = shallow[kind.host], dits.latent(kind, 128, 128)
    assert torch.equal(predicted(fusion(model), kind, x), predicted(model, kind, x))


@every_kind
@pytest.mark.parametrize("settings", [{}, {"preset": "Fast"}, {"preset": "Balanced"}, {"global_attention": "strided"}])
def test_acts_above_the_native_size_alike_in_every_run(kind, settings):
    model, x = dits.build(kind), dits.latent(kind, 256, 320)
    patched = fusion(model, **settings)
    first, plain = predicted(patched, kind, x), predicted(model, kind, x)
    assert torch.isfinite(first).all() and (first - plain).abs().max() > 1e-3 * plain.abs().max()
    assert torch.equal(predicted(patched, kind, x), first)
    moves = settings == {"preset": "Fast"} or kind.size(128) > 4 * kind.patch  # windows of 4 tokens have no room to
    assert torch.equal(predicted(fusion(model, seed=1, **settings), kind, x), first) != moves


@every_kind
def test_balanced_has_the_whole_picture_while_sigma_is_high(kind):
    """Of σ itself, whatever the model's shift: a stage begins at .75, where the shifted half of the schedule is already over."""
    model, x = dits.build(kind), dits.latent(kind, 256, 256)
    early, late = (
        {name: predicted(fusion(model, preset=name), kind, x, sigma) for name in ("Exact", "Balanced", "Fast")}
        for sigma in (0.7, 0.4)
    )
    assert torch.equal(early["Balanced"], early["Exact"]) and not torch.equal(early["Balanced"], early["Fast"])
    assert torch.equal(late["Balanced"], late["Fast"]) and not torch.equal(late["Balanced"], late["Exact"])


@every_kind
@pytest.mark.parametrize("settings", [{}, {"preset": "Fast"}])
def test_a_second_node_takes_the_place_of_the_first(kind, settings):
    model, x = dits.build(kind), dits.latent(kind, 256, 256)
    once = fusion(model, **settings)
    assert torch.equal(predicted(fusion(once, **settings), kind, x), predicted(once, kind, x))


@every_kind
def test_another_packs_override_sees_every_part_and_ours_is_gone_afterwards(shallow, kind):
    model, x, calls = shallow[kind.host].clone(), dits.latent(kind, 256, 256), []

    def counting(func, *args, **kwargs):
        calls.append(args[0].shape)
        return func(*args, **kwargs)

    expected = predicted(fusion(model, preset="Fast"), kind, x)
    model.model_options["transformer_options"]["optimized_attention_override"] = counting
    patched = fusion(model, preset="Fast")
    assert torch.equal(predicted(patched, kind, x), expected) and len(calls) > 2
    assert patched.model_options["transformer_options"]["optimized_attention_override"] is counting
    calls.clear()
    predicted(model, kind, x)
    assert 1 <= len(calls) <= 5  # one layer, and those of the text


@every_kind
def test_another_packs_override_may_ignore_all_but_queries_keys_and_values(shallow, kind):
    """As Sage Attention does with masks and scales: the whole picture's sharper logits are in the queries."""
    model, x = shallow[kind.host].clone(), dits.latent(kind, 256, 256)
    expected = predicted(fusion(model), kind, x)

    def bare(func, q, k, v, heads, *args, skip_reshape=False, **kwargs):
        return func(q, k, v, heads, skip_reshape=skip_reshape, _inside_attn_wrapper=True)

    model.model_options["transformer_options"]["optimized_attention_override"] = bare
    assert torch.allclose(predicted(fusion(model), kind, x), expected, atol=1e-5)  # LTX has a mask for its text, of nothing


@every_kind
@pytest.mark.parametrize("settings", [{}, {"preset": "Fast"}, {"global_attention": "strided"}])
def test_where_memory_runs_out_it_goes_on_with_fewer_windows_and_queries(shallow, kind, settings):
    model, x, refused = shallow[kind.host].clone(), dits.latent(kind, 256, 256), []
    expected = predicted(fusion(model, **settings), kind, x)

    def small(func, q, k, *args, **kwargs):
        if q.ndim == 3 or math.prod(q.shape[:-1]) * k.shape[-2] <= 4096:  # the former is Wan's, over its text
            return func(q, k, *args, **kwargs)
        refused.append(q.shape)
        raise comfy.model_management.OOM_EXCEPTION("out of memory")

    model.model_options["transformer_options"]["optimized_attention_override"] = small
    found = predicted(fusion(model, **settings), kind, x)
    assert refused and (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("setting", "value"), [("blocks", "down"), ("blur_axes", "hwd")])
def test_settings_of_u_nets_are_refused_with_the_value_that_was_typed(setting, value):
    with pytest.raises(ValueError, match=f"^FreeScale Scale Fusion › {setting} = '{value}': Flux is a transformer"):
        fusion(dits.build(FLUX), **{setting: value})


def test_positions_that_cannot_be_stretched_are_not_asked_to():
    with pytest.raises(ValueError, match="^FreeScale Scale Fusion › rope_factor = 10.0: the positions of LTXV cannot be"):
        fusion(dits.build(KINDS["LTX-Video"]), rope_factor=10.0)
    assert fusion(dits.build(FLUX), rope_factor=10.0)


class OwnAttention(torch.nn.Module):
    """Stands for another pack's block in a network of the host's (nunchaku's): nothing of the call reaches its attention."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, *args, transformer_options=None, **kwargs):
        return self.block(*args, **kwargs)


def warnings_of(caplog):
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


def test_a_network_whose_attention_is_out_of_reach_is_said_once(caplog):
    model, x = dits.build(FLUX), dits.latent(FLUX, 256, 256)
    network = model.model.diffusion_model
    for blocks in (network.double_blocks, network.single_blocks):
        blocks[0] = OwnAttention(blocks[0])
    patched = fusion(model)
    native = dits.latent(FLUX, 128, 128)
    predicted(patched, FLUX, native)
    assert not warnings_of(caplog)
    assert torch.equal(predicted(patched, FLUX, x), predicted(model, FLUX, x))
    predicted(patched, FLUX, x)
    assert warnings_of(caplog) == [
        "FreeScale Scale Fusion: no self-attention of the network comes to it, as where another pack's layers compute their own "
        "(nunchaku). Such layers keep their own attention."
    ]


def test_calls_that_another_pack_answers_itself_are_no_reason_for_a_warning(caplog):
    """Step caches: the network does not run, or runs without its blocks once it has run with them."""
    model, x = dits.build(FLUX), dits.latent(FLUX, 256, 256)
    answered = model.clone()
    answered.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "a cache", lambda executor, x, *args, **kwargs: x)
    for patched in (fusion(answered), fusion(model)):
        predicted(patched, FLUX, x)
    network = model.model.diffusion_model
    network.forward_orig = lambda img, *args, **kwargs: img
    predicted(patched, FLUX, x)
    assert not warnings_of(caplog)


@pytest.mark.parametrize("kind", [FLUX, KINDS["Qwen-Image"]], ids=["FLUX.1", "Qwen-Image"])
def test_references_leave_the_attention_alone_and_say_so_once(kind, caplog):
    model, x = dits.build(kind), dits.latent(kind, 256, 256)
    caplog.set_level(logging.WARNING)
    reference = {"reference_latents": [dits.latent(kind, 128, 128, seed=3)]}
    patched = fusion(model)
    assert torch.equal(predicted(patched, kind, x, **reference), predicted(model, kind, x, **reference))
    predicted(patched, kind, x, **reference)
    assert warnings_of(caplog) == [
        "FreeScale Scale Fusion: its attention has other tokens than the picture and the prompt, as reference pictures and guides "
        "bring them. Such layers keep their own attention."
    ]


@pytest.mark.parametrize("name", ["Wan", "LTX-Video"])
def test_a_text_as_long_as_the_film_is_not_taken_for_it(name, caplog):
    """Nothing tells attention over it from the film's own, so that both are left alone."""
    kind = KINDS[name]
    model, x = dits.build(kind), dits.latent(kind, 256, 256)
    text = 3 * kind.size(256 // kind.patch) ** 2
    assert torch.equal(predicted(fusion(model), kind, x, text=text), predicted(model, kind, x, text=text))
    assert len(warnings_of(caplog)) == 1 and "other tokens than the picture" in caplog.text
    assert not torch.equal(predicted(fusion(model), kind, x, text=text - 1), predicted(model, kind, x, text=text - 1))


REFERENCES = {"reference_latents": [dits.latent(FLUX, 128, 128, seed=3)]}
PAIRS = {"attention_mask": families.random(263, 263), "attention_mask_img_shape": (16, 16)}  # as StyleModelApply has it


@pytest.mark.parametrize("side", [0, 1], ids=["positive", "negative"])
@pytest.mark.parametrize(
    ("kind", "kept", "words"),
    [
        (FLUX, REFERENCES, "reference pictures"),
        (KINDS["Qwen-Image"], {"reference_latents": [dits.latent(KINDS["Qwen-Image"], 128, 128)]}, "reference pictures"),
        (FLUX, PAIRS, "mask over all pairs"),
    ],
    ids=["FLUX.1, reference", "Qwen-Image, reference", "FLUX.1, mask of pairs"],
)  # fmt: skip
def test_what_keeps_the_attention_of_one_prompt_keeps_the_other_ones_too(kind, kept, words, side, caplog):
    """Guidance subtracts one answer from the other: windows in one of them alone would be in the difference."""
    model, x = dits.build(kind), dits.latent(kind, 256, 256)
    prompts = [dits.prompt(kind, seed) for seed in (1, 2)]

    def guided(model):
        sampler, sigmas = comfy.samplers.sampler_object("euler"), torch.tensor([0.6, 0.0])
        return comfy.sample.sample_custom(
            model, x, 3.0, sampler, sigmas, *prompts, torch.zeros_like(x), disable_pbar=True, seed=1
        )

    without = guided(model)
    assert not torch.allclose(guided(fusion(model)), without, rtol=1e-3)
    prompts[side][0][1].update(kept)
    assert torch.equal(guided(fusion(model)), guided(model)) and not torch.equal(guided(model), without)
    assert len(warnings_of(caplog)) == 1 and words in caplog.text
