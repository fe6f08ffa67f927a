"""FouriScale on a real MODEL: its strong and weak rows, and each layer's output beside its own filtered input."""

import comfy.ldm.modules.attention
import comfy.samplers
import families
import pytest
import torch
import torch.nn.functional as F
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_custom_sampler import Guider_DualCFG
from families import FAMILIES
from freescale.freescale_core.rivals import fouriscale
from patching import HUGE, LARGE, ODD
from rival_models import MIDDLE, UNET, assert_close, at_steps, draw, fouri, graph, predictions, residual, watched

import nodes as host_nodes  # noqa: F401  the host's nodes: comfy_extras above rely on them

FILTERED = residual("input", 7, 8) + MIDDLE + residual("output", 0, 1, 2, 3, 4, 5)


def test_fouriscale_runs_the_prompted_rows_twice(model, run):
    patched, calls = watched(fouri(model))
    run(patched, LARGE, sigmas=at_steps(model, 2, 34, 35), cfg=3.0)
    assert [shape[0] for shape, _ in calls] == [3, 3, 2]  # uncond, strong, weak


def test_fouriscale_knows_the_prompt_wherever_it_stands_in_a_call(model):
    """A guider with two prompts puts the negative one first: its rows stay plain, and the positive one's are weak all the same."""
    g, middle, answers = graph("SDXL"), families.conditioning(FAMILIES["SDXL"], 5), []

    def listening(executor, *args, **kwargs):
        out = executor(*args, **kwargs)
        answers.append([prediction.clone() for prediction in out])
        return out

    patched = fouri(model)
    patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "test", listening)
    draw(patched, g, LARGE, at_steps(model, 2))
    guider = Guider_DualCFG(patched)
    guider.set_conds(g.positive, middle, g.negative)
    guider.set_cfg(3.0, 2.0)
    latent, noise = families.random(1, 4, *LARGE), families.random(1, 4, *LARGE, seed=3)
    guider.sample(noise, latent, comfy.samplers.sampler_object("euler"), at_steps(model, 2), seed=1, disable_pbar=True)
    (positive, negative), (dual_negative, _, dual_positive) = answers
    assert_close(dual_positive, positive)
    assert_close(dual_negative, negative)


def test_fouriscales_layers(model, run):
    """Each layer's output in context is that of its own filtered and dilated input, weak rows weakly."""
    patched, reach, seen = fouri(model), fouriscale.REACH[3], {}

    def recording(name):
        """A hook of the layer's module itself, so that it sees what goes in and comes out."""

        def note(module, args, out):
            seen[name] = (args[0].clone(), out.clone())

        return patched.get_model_object(UNET + name).register_forward_hook(note)

    everything = [*FILTERED, "output_blocks.2.2.conv", "output_blocks.5.2.conv", "input_blocks.6.0.op", *residual("output", 6)]
    handles = [recording(name) for name in everything]
    try:
        run(patched, HUGE, sigmas=at_steps(model, 25), cfg=3.0)
    finally:
        for handle in handles:
            handle.remove()
    d = 3 * 10 / 15 + 1  # S = 4 at step 25
    for name, (x, out) in seen.items():
        layer = patched.get_model_object(UNET + name)
        if name in FILTERED:
            strong = fouriscale.low_passed(x[:2], tuple(x.shape[-2:]), d, False, reach.lowest)
            weak = fouriscale.low_passed(x[2:], tuple(x.shape[-2:]), d, True, reach.lowest)
        else:
            strong, weak = x[:2], x[2:]
        dilations = (3, 2) if name in FILTERED or name == "output_blocks.2.2.conv" else (1, 1)
        stride = 2 if name.endswith(".op") else 1
        expected = [
            F.conv2d(rows, layer.weight, layer.bias, stride, n, n) for rows, n in zip((strong, weak), dilations, strict=True)
        ]
        assert torch.allclose(out, torch.cat(expected), rtol=0, atol=2e-5), name


def test_the_weak_branch_looks_where_the_strong_one_does(model, run):
    """q and k of the weak rows are the strong rows', v is their own; the host's order of chunks does not matter."""
    observed, tokens = model.clone(), []

    def replacement(q, k, v, extra):
        assert extra["cond_or_uncond"] in ([1, 0, 0], [0, 1, 0])
        strong = extra["cond_or_uncond"].index(0)
        tokens.append((torch.equal(q[2], q[strong]), torch.equal(k[2], k[strong]), torch.equal(v[2], v[strong])))
        return comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

    for block in (("input", 8), ("middle", 0), ("output", 4)):
        observed.set_model_attn1_replace(replacement, *block)
    run(fouri(observed), HUGE, sigmas=at_steps(model, 2), cfg=3.0)
    assert set(tokens) == {(True, True, False)}


def test_guidance_goes_from_the_unprompted_to_the_weak_prediction(model, run):
    """u + g (weak − u): linear in g, and what is prompted is neither the plain nor the strong prediction."""
    patched = fouri(model)
    (x, weak), (_, guided), (_, unprompted) = (predictions(patched, run, HUGE, 2, cfg) for cfg in (1.0, 3.0, 0.0))
    assert_close(guided, unprompted + 3 * (weak - unprompted))
    assert not torch.allclose(weak, predictions(model, run, HUGE, 2)[1], atol=1e-3)


def test_fouriscale_pads_a_picture_that_is_no_multiple(model, run, monkeypatch):
    """40 × 28 cells, native 16 × 16, S = 3: what is 10 × 7 deepest down becomes 12 × 12, three times the native 4 × 4."""
    sizes, original = set(), fouriscale.low_passed

    def noting(x, padded, *rest):
        sizes.add((tuple(x.shape[-2:]), padded))
        return original(x, padded, *rest)

    monkeypatch.setattr(fouriscale, "low_passed", noting)
    run(fouri(model), ODD, sigmas=at_steps(model, 2))
    assert sizes == {((10, 7), (12, 12)), ((20, 14), (24, 24))}


def test_bad_settings_are_refused_by_name(model):
    with pytest.raises(ValueError, match="FreeScale Rival FouriScale › full_percent = 0.8: it is after end_percent = 0.2"):
        fouri(model, full_percent=0.8, end_percent=0.2)
