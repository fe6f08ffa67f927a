"""HiDiffusion on a real MODEL: the sizes of its features, its samplers and its windows."""

import comfy.ldm.modules.attention
import pytest
import torch
import torch.nn.functional as F
from patching import LARGE
from rival_models import UNET, at_steps, draw, graph, hidiffusion


def feature_sizes(model, run, rival, size, step):
    """(section, block) → the size of the features that leave it."""
    sizes = {}

    def note(h, extra):
        sizes[extra["block"]] = tuple(h.shape[-2:])
        return h

    def note_up(h, skip, extra):
        sizes[extra["block"]] = tuple(skip.shape[-2:])
        return h, skip

    patched = rival(model).clone()
    patched.set_model_input_block_patch_after_skip(note)
    patched.set_model_output_block_patch(note_up)
    run(patched, size, sigmas=at_steps(model, step), cfg=1.0)
    return sizes


def test_hidiffusions_features_are_smaller_early_on(model, run):
    """SDXL at 2×: until step 8 the second downsampler halves twice; from 8 to 20 the level between is pooled; then never."""
    full = feature_sizes(model, run, lambda m: m, LARGE, 2)
    assert full["input", 4] == (16, 16) and full["input", 7] == (8, 8)
    early, middle, late = (feature_sizes(model, run, hidiffusion, LARGE, step) for step in (7, 8, 20))
    deep = [("input", i) for i in (6, 7, 8)] + [("output", i) for i in (0, 1, 2)]
    deep_from_pool = deep + [("input", i) for i in (4, 5)] + [("output", i) for i in (3, 4)]
    for found, smaller in ((early, deep), (middle, deep_from_pool), (late, [])):
        assert found == {place: tuple(n // 2 for n in size) if place in smaller else size for place, size in full.items()}
    odd = feature_sizes(model, run, hidiffusion, (40, 28), 10)
    assert odd["input", 4] == (10, 7) and odd["input", 6] == (5, 4) and odd["output", 5] == (20, 14)


@pytest.mark.parametrize(
    ("name", "op", "up"),
    [("SDXL", "input_blocks.6.0.op", "output_blocks.2.2.conv"), ("SD 1.5", "input_blocks.3.0.op", "output_blocks.8.2.conv")],
)
def test_the_strided_downsampler_is_dilated_and_its_upsampler_smooth(name, op, up):
    """The features come back at four times their size: by repetition and bicubically, by two each."""
    g, seen = graph(name), {}
    layers = {place: g.model.get_model_object(UNET + place) for place in (op, up)}

    def recording(place):
        def note(module, args, out):
            seen[place] = (args[0].clone(), out.clone())

        return layers[place].register_forward_hook(note)

    handles = [recording(place) for place in layers]
    try:
        draw(hidiffusion(g.model), g, LARGE, at_steps(g.model, 7))
    finally:
        for handle in handles:
            handle.remove()
    x, out = seen[op]
    assert torch.allclose(out, F.conv2d(x, layers[op].weight, layers[op].bias, 4, 2, 2), rtol=0, atol=1e-5)
    x, out = seen[up]
    small = x[..., ::4, ::4]
    assert torch.equal(x, small.repeat_interleave(4, -1).repeat_interleave(4, -2))
    smooth = F.interpolate(small.repeat_interleave(2, -1).repeat_interleave(2, -2), scale_factor=2.0, mode="bicubic")
    assert torch.allclose(out, F.conv2d(smooth, layers[up].weight, layers[up].bias, 1, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "windowed", "whole"),
    [
        ("SDXL", [("input", 4), ("input", 5), ("output", 3), ("output", 5)], [("input", 7), ("middle", 0), ("output", 1)]),
        ("SD 1.5", [("input", 1), ("input", 2), ("output", 9), ("output", 11)], [("input", 4), ("middle", 0), ("output", 8)]),
        ("SDXL refiner", [("input", 4), ("input", 5), ("output", 6), ("output", 8)], [("input", 7), ("output", 4)]),
    ],
)
def test_hidiffusions_windows_are_the_finest_attentions(name, windowed, whole):
    g, seen = graph(name), {}

    def observer(block):
        def replacement(q, k, v, extra):
            seen[block] = q.shape[0]
            return comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

        return replacement

    observed = g.model.clone()
    for block in windowed + whole:
        observed.set_model_attn1_replace(observer(block), *block)
    draw(hidiffusion(observed), g, LARGE, at_steps(g.model, 30))
    assert seen == {**dict.fromkeys(windowed, 4 * 2), **dict.fromkeys(whole, 2)}  # cond and uncond
