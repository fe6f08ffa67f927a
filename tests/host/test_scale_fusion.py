"""Scale Fusion on a real MODEL: where it acts, and each layer beside the straightforward one."""

import itertools
from collections import Counter

import comfy.ldm.modules.attention
import comfy.samplers
import families
import oracle
import pytest
import torch
from families import with_scale_fusion as fusion
from freescale.freescale_core import chunks
from freescale.freescale_core.geometry import enlargement
from freescale.freescale_core.windows import draw_key, fixed_views, jittered_views, window_plan
from patching import LARGE, NATIVE, ODD

# ---------------------------------------------------------------- where it acts


def test_native_size_is_the_longer_side(model, run):
    """For models such as Turbo: 256 px of a native 128 are enlarged, of a native 256 not."""
    assert torch.equal(run(fusion(model, native_size=256), LARGE, steps=1), run(model, LARGE, steps=1))
    assert torch.equal(run(fusion(model, native_size=128), LARGE, steps=1), run(fusion(model), LARGE, steps=1))
    assert not torch.equal(run(fusion(model, native_size=64), NATIVE, steps=1), run(model, NATIVE, steps=1))


def test_blocks_limit_scale_fusion(model, run):
    parts = {
        blocks: run(fusion(model, blocks=blocks), LARGE, steps=1)
        for blocks in ("down", "middle", "up", "all", "input, middle, output")
    }
    assert torch.equal(parts["all"], parts["input, middle, output"])
    assert all(not torch.equal(a, b) for a, b in itertools.combinations([parts[k] for k in ("down", "middle", "up", "all")], 2))


def test_percent_range_limits_scale_fusion(model, run):
    """Only the middle step of three is inside: the same as patching that step alone, so others are the plain model."""
    sampling = model.get_model_object("model_sampling")
    sigmas = torch.tensor([float(sampling.percent_to_sigma(p)) for p in (0.2, 0.5, 0.8)] + [0.0])
    counts = []

    def counter(q, k, v, extra):
        counts.append((float(extra["sigmas"][0]), q.shape[1]))
        return comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

    observed = model.clone()
    observed.set_model_attn1_replace(counter, "middle", 0)
    run(fusion(observed, start_percent=0.4, end_percent=0.6), LARGE, sigmas=sigmas)
    windows = {sigma for sigma, tokens in counts if tokens == 16}  # 4 × 4 windows on the middle's 8 × 8 grid
    assert windows == {float(sigmas[1])} and {sigma for sigma, _ in counts} == set(sigmas[:3].tolist())


def test_presets_from_exact_to_fast(model, run):
    """Exact is the plain setting; Balanced strides the fine layers alone, whatever global_attention says."""
    fine, coarse = "input.4-5, output.3-5", "input.7-8, middle, output.0-2"
    composed = fusion(fusion(model, global_attention="strided", blocks=fine), blocks=coarse)
    for preset, same in (("Exact", fusion(model)), ("Balanced", composed)):
        assert torch.equal(run(fusion(model, global_attention="strided", preset=preset), LARGE), run(same, LARGE)), preset


def test_fast_is_strided_with_blocks_above_2x_unless_another_replaced_the_attention(model, run):
    """Which may ask for as many queries as keys: perturbed attention answers with v itself. An earlier node of ours does not."""
    fast, strided = {"preset": "Fast"}, {"global_attention": "strided"}
    assert torch.equal(run(fusion(model, **fast), LARGE), run(fusion(model, **strided), LARGE))
    small = dict(native_size=64)  # half of the model's own: so the same picture is 4 times as large
    blocks, windows = (run(fusion(model, **small, **how), LARGE) for how in (fast, strided))
    assert not torch.equal(blocks, windows) and (blocks - windows).abs().mean() < 0.2 * windows.abs().mean()
    assert torch.equal(run(fusion(fusion(model, **small, seed=9), **small, **fast), LARGE), blocks)
    other = families.watched(model)[0]
    assert torch.equal(run(fusion(other, **small, **fast), LARGE), windows)


@pytest.mark.parametrize("axes", ["hw", "hwd"])
def test_draft_has_windows_late_and_in_the_up_blocks_only(model, run, axes, monkeypatch):
    for smallest in ("SMALLEST_CHUNK", "SMALLEST_STACK"):
        monkeypatch.setattr(chunks, smallest, 1)  # parts of so small a picture, too
    sampling = model.get_model_object("model_sampling")
    sigmas = torch.tensor([float(sampling.percent_to_sigma(p)) for p in (0.2, 0.54, 0.56, 0.8)] + [0.0])
    windows = []

    def counter(q, k, v, extra):
        windows.append((float(extra["sigmas"][0]), *extra["block"]))
        return comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

    observed = model.clone()
    for block in (("input", 4), ("middle", 0), ("output", 1)):
        observed.set_model_attn1_replace(counter, *block)
    run(fusion(observed, preset="Draft", blur_axes=axes), LARGE, sigmas=sigmas)
    calls = Counter(windows)
    lattices, both = calls[(float(sigmas[0]), "input", 4)], calls[(float(sigmas[3]), "output", 1)]
    assert lattices == 4 and both == 4 + 3  # a quarter of the picture at a time, and nine windows of one in three stacks
    for (sigma, section, _), number in calls.items():
        assert number == (both if section == "output" and sigma < float(sampling.percent_to_sigma(0.55)) else lattices)


def test_one_branch_alone(model, run):
    """global only is the plain model's attention, strided or not; local only never sees more than a window."""
    assert torch.equal(run(fusion(model, branches="global only"), LARGE), run(model, LARGE))

    def sizes(branches):
        """Of the pictures that one layer's attention is given."""
        seen, observed = set(), model.clone()

        def counter(q, k, v, extra):
            seen.add(q.shape[1])
            return comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

        observed.set_model_attn1_replace(counter, "input", 4)
        for axes in ("hw", "hwd"):
            run(fusion(observed, branches=branches, blur_axes=axes), LARGE, steps=1)
        return seen

    assert [sizes(branches) for branches in ("both", "global only", "local only")] == [{64, 256}, {256}, {64}]
    assert not torch.equal(run(fusion(model, branches="local only"), LARGE), run(fusion(model), LARGE))


# ---------------------------------------------------------------- what it computes


def observe(patched, block, tokens, outputs):
    """Record, of one layer, its input tokens and what is added to the residual."""
    patched = patched.clone()

    def output_patch(n, extra):
        if (extra["block"], extra["block_index"]) == block:
            outputs.append((n.clone(), tuple(extra["activations_shape"]), float(extra["sigmas"][0])))
        return n

    patched.set_model_attn1_output_patch(output_patch)
    names = {"input": "input_blocks", "output": "output_blocks"}
    (section, number), index = block
    path = f"diffusion_model.{names[section]}.{number}.1.transformer_blocks.{index}"
    layer = patched.get_model_object(path)
    handle = layer.norm1.register_forward_hook(lambda _, __, out: tokens.append(out.clone()))
    weights = {name: getattr(layer.attn1, name).weight for name in ("to_q", "to_k", "to_v")}
    weights |= {"to_out": layer.attn1.to_out[0].weight, "to_out_bias": layer.attn1.to_out[0].bias}
    return patched, handle, weights, layer.attn1.heads


@pytest.mark.parametrize("block", [(("input", 4), 0), (("output", 1), 0)])
@pytest.mark.parametrize("size", [LARGE, ODD])
@pytest.mark.parametrize(
    ("global_attention", "axes", "jitter"),
    [("full", "hw", True), ("full", "hwd", True), ("strided", "hw", False), ("strided", "hwd", True)],
)
def test_a_layer_in_context_equals_the_straightforward_one(model, run, block, size, global_attention, axes, jitter):
    tokens, outputs = [], []
    patched = fusion(model, global_attention=global_attention, blur_axes=axes, jitter=jitter, seed=3)
    patched, handle, weights, heads = observe(patched, block, tokens, outputs)
    try:
        run(patched, size, steps=1)
    finally:
        handle.remove()
    [x], [(out, shape, sigma)] = tokens, outputs
    grid = shape[-2:]
    assert x.shape[0] == 2 and x.shape[1] == grid[0] * grid[1]  # positive and negative batched
    big = enlargement(8 * size[0], 8 * size[1], 128)
    plan = window_plan(*grid, big.ratio)
    (section, number), index = block
    key = draw_key(3, sigma, *size, section, number, index)
    views = jittered_views(plan, key) if jitter else fixed_views(plan)
    strides = big.strides if global_attention == "strided" else None
    expected = oracle.scale_fusion_layer(x, weights, heads, grid, plan.jitter, views, big.factor, axes, strides)
    assert torch.allclose(out, expected, rtol=0, atol=2e-5)
    assert not torch.allclose(out, oracle.self_attention(x, weights, heads), atol=1e-2)


# ---------------------------------------------------------------- its windows


def test_same_seed_same_bits(model, run):
    pictures = [run(fusion(model, seed=seed), LARGE) for seed in (7, 7, 8)]
    assert torch.equal(pictures[0], pictures[1])
    assert (pictures[0] - pictures[2]).abs().max() > 1e-3 * pictures[0].abs().max()
    fixed = [run(fusion(model, jitter=False, seed=seed), LARGE) for seed in (7, 8)]
    assert torch.equal(*fixed) and not torch.equal(fixed[0], pictures[0])


def test_jitter_does_not_depend_on_the_order_of_calls(model, run):
    """The same state at the same σ gives the same bits, whatever was computed before."""

    def evaluations(order):
        found = {}

        def sampler(inner, x, sigmas, extra_args=None, **_):
            for sigma in order:
                found[sigma] = inner(x, torch.tensor([sigma]), **extra_args)
            return x

        run(fusion(model), LARGE, sampler=comfy.samplers.KSAMPLER(sampler))
        return found

    forward, backward = evaluations([5.0, 2.0, 1.0]), evaluations([1.0, 5.0, 2.0])
    assert all(torch.equal(forward[sigma], backward[sigma]) for sigma in forward)
