"""What holds for every rival: where it acts, what it leaves alone, what it repeats and what it stands beside."""

import itertools
import logging

import comfy.ldm.modules.attention
import comfy.model_management
import families
import pytest
import torch
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from families import controlnet, host_node, t2i_adapter
from patching import HUGE, LARGE, NATIVE, ODD, at_call, freeu, interrupt, with_weight_patches
from rival_models import (
    assert_close,
    at_steps,
    controlled,
    demofusion,
    draw,
    every_rival,
    fouri,
    graph,
    hidiffusion,
    scalecrafter,
    watched,
)

import nodes as host_nodes  # noqa: F401  the host's nodes: comfy_extras above rely on them

# ---------------------------------------------------------------- where they act


@every_rival
def test_changes_nothing_at_the_native_size_or_below_and_something_above(acts_only_above_the_native_size, rival):
    acts_only_above_the_native_size(rival)


@every_rival
def test_one_patched_model_serves_every_size_in_any_order(serves_every_size, rival):
    serves_every_size(rival)


@every_rival
def test_native_size_is_the_longer_side(model, run, rival):
    assert torch.equal(run(rival(model, native_size=256), LARGE, steps=1), run(model, LARGE, steps=1))
    assert not torch.equal(run(rival(model, native_size=64), NATIVE, steps=1), run(model, NATIVE, steps=1))


OTHERS = ("SD 1.5", "SD 2 v", "SSD-1B, Vega", "KOALA-700M", "SDXL refiner", "SDXL EDM (Playground 2.5)", "SDXL inpainting")
CASES = [*itertools.product(OTHERS, [LARGE, ODD]), ("SD 1.5", HUGE), ("KOALA-700M", HUGE)]


@every_rival
@pytest.mark.parametrize(("name", "size"), CASES, ids=str)
def test_every_family_is_drawn(rival, name, size):
    g = graph(name)
    sigmas = at_steps(g.model, 5) if size == HUGE else at_steps(g.model, 0, 10)
    drawn, plain = (draw(m, g, size, sigmas) for m in (rival(g.model), g.model))
    assert torch.isfinite(drawn).all() and not torch.allclose(drawn, plain, atol=1e-3)


@pytest.mark.parametrize("rival", [scalecrafter, fouri, hidiffusion])  # DemoFusion does not look inside
def test_another_u_net_is_refused(sketch, rival):
    with pytest.raises(ValueError, match=r"FreeScale Rival \w+ › model = .*its U-Net has 1 levels"):
        rival(sketch)


# ---------------------------------------------------------------- nothing is left behind


@every_rival
def test_the_input_model_is_untouched(leaves_the_input_alone, rival):
    leaves_the_input_alone(rival)


@every_rival
@pytest.mark.parametrize("interrupted", [False, True])
def test_an_exception_or_a_cancel_leaves_nothing_behind(model, run, rival, interrupted, unchanged):
    def stop():
        if interrupted:
            interrupt()
        raise RuntimeError("another patch failed")

    expected = run(rival(model), LARGE)
    failing = rival(model)
    failing.set_model_attn2_output_patch(at_call(17, stop))
    error = comfy.model_management.InterruptProcessingException if interrupted else RuntimeError
    with pytest.raises(error):
        run(failing, LARGE)
    assert torch.equal(run(rival(model), LARGE), expected)


# ---------------------------------------------------------------- repeatable


@pytest.mark.parametrize("rival", [demofusion, hidiffusion])
def test_same_seed_same_bits(model, run, rival):
    before = torch.get_rng_state()
    noise = families.random(1, 4, *LARGE)
    pictures = [run(rival(model, seed=seed), LARGE, noise=noise) for seed in (7, 7, 8)]
    assert torch.equal(pictures[0], pictures[1])
    assert (pictures[0] - pictures[2]).abs().max() > 1e-3 * pictures[0].abs().max()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("rival", "size"),
    [
        *itertools.product([scalecrafter, fouri, hidiffusion], [LARGE, HUGE]),
        (demofusion, LARGE),
    ],  # which does the same at any size
)
def test_cond_and_uncond_apart_equal_batched(model, run, rival, size):
    sigmas = at_steps(model, 5, 12)
    together = run(rival(model), size, sigmas=sigmas)
    hungry, calls = watched(rival(model))
    hungry.add_object_patch("memory_usage_factor", 1e9)  # the host now believes that one picture fills the memory
    apart = run(hungry, size, sigmas=sigmas)
    if rival is not demofusion:
        assert {shape[0] for shape, _ in calls} <= ({1, 2} if rival is fouri else {1})
    assert_close(together, apart)


@every_rival
def test_pictures_of_a_batch_are_drawn_as_alone(model, run, rival):
    noise = families.random(1, 4, *LARGE)
    latents = run(rival(model), LARGE, batch=2, steps=1, noise=noise.repeat(2, 1, 1, 1))
    assert_close(latents[:1], run(rival(model), LARGE, batch=1, steps=1, noise=noise))


# ---------------------------------------------------------------- neighbours


def lora(m):
    keys = [
        "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight",
        "diffusion_model.input_blocks.6.0.op.weight",
        "diffusion_model.middle_block.0.in_layers.2.weight",
    ]
    return with_weight_patches(m, keys)


def attention(m):
    """Another node's replacement of a self-attention."""

    def replacement(q, k, v, extra):
        return 0.5 * comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

    patched = m.clone()
    patched.set_model_attn1_replace(replacement, "input", 4)
    return patched


def guidance(m):
    """Another node's guidance, before and after the host's."""
    patched = m.clone()
    patched.set_model_sampler_post_cfg_function(
        lambda args: args["denoised"] + 0.1 * (args["cond_denoised"] - args["uncond_denoised"])
    )
    return patched


@every_rival
@pytest.mark.parametrize("other", [freeu, lora, attention, guidance])
def test_stacks_with_another_node_in_either_order(in_both_orders, rival, other):
    in_both_orders(rival, other)


@every_rival
def test_lives_with_deep_shrink(model, run, rival):
    shrunk = host_node(PatchModelAddDownscale, model, 3, 2.0, 0.0, 0.35, True, "bicubic", "bicubic")[0]
    assert torch.isfinite(run(rival(shrunk), LARGE)).all()


@every_rival
def test_gligen_is_kept_or_refused(model, run, rival):
    """Where a call gets more rows than ComfyUI batched, GLIGEN's boxes would not fit: an error before anything else."""
    boxes = rival(model)
    boxes.set_model_patch(lambda x, extra: x, "middle_patch")
    if rival in (demofusion, fouri):
        with pytest.raises(ValueError, match=r"FreeScale Rival \w+ › model = 'with GLIGEN'"):
            run(boxes, LARGE)
    else:
        assert torch.isfinite(run(boxes, LARGE)).all()


@pytest.mark.parametrize("rival", [scalecrafter, fouri, hidiffusion])
@pytest.mark.parametrize("control", [controlnet, t2i_adapter])
@pytest.mark.parametrize("size", [LARGE, ODD, HUGE])
def test_the_others_live_with_one(model, rival, control, size, caplog):
    """All but DemoFusion, which refuses it. ComfyUI only warns where an answer does not fit the features: none may be dropped."""
    for step in (2, 10, 25):
        with caplog.at_level(logging.WARNING):
            out = controlled(rival(model), size, at_steps(model, step), control)
        assert torch.isfinite(out).all() and not [text for text in caplog.messages if "control" in text]
