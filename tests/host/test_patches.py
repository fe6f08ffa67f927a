"""Scale Fusion and Restrained Dilation on a real MODEL: what they do, what they leave alone, what they stack with."""

import itertools
import logging
from collections import Counter

import comfy.model_management
import comfy.samplers
import oracle
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_freelunch import FreeU
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_tomesd import TomePatchModel
from families import host_node
from families import with_dilation as dilation
from families import with_scale_fusion as fusion
from freescale.freescale_core import attention as core_attention
from freescale.freescale_core.geometry import enlargement, fixed_views, jittered_views, window_plan
from freescale.nodes.host import attention as host_attention
from freescale.nodes.host import convolution as host_convolution
from freescale.nodes.restrained_dilation import RestrainedDilation
from freescale.nodes.scale_fusion_attention_patch import ScaleFusionAttentionPatch

import nodes as host_nodes  # noqa: F401  the host's nodes: comfy_extras below rely on them

NATIVE, LARGE = (16, 16), (32, 32)  # latents of 128 px, the model's native size, and of 256 px
ODD = (40, 28)  # fractional ratios: 2.5 and 1.75

OUTPUT = "diffusion_model.middle_block.0.in_layers.2"  # a convolution that every preset but custom dilates


def hwd(model):
    return fusion(model, blur_axes="hwd")


def both(model):
    return dilation(hwd(model))


PATCHES = {
    "hw": fusion,
    "hwd": hwd,
    "strided": lambda m: fusion(m, global_attention="strided"),
    "Balanced": lambda m: fusion(m, preset="Balanced"),
    "Draft": lambda m: fusion(m, preset="Draft", blur_axes="hwd"),
    "dilation": dilation,
    "up blocks": lambda m: dilation(m, preset="FreeScale + up blocks"),
    "ScaleCrafter": lambda m: dilation(m, preset="ScaleCrafter", factor=2.5),
    "both": both,
}
every_patch = pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)


# ---------------------------------------------------------------- where they act


@every_patch
def test_changes_nothing_at_the_native_size_or_below_and_something_above(model, run, patch):
    for size in (NATIVE, (8, 12), (20, 16)):
        assert torch.equal(run(patch(model), size), run(model, size))
    assert not torch.allclose(run(patch(model), LARGE), run(model, LARGE), atol=1e-3)


@every_patch
def test_one_patched_model_serves_every_size_in_any_order(model, run, patch):
    patched = patch(model)
    first = {size: run(patched, size, steps=1) for size in (LARGE, ODD, NATIVE)}
    again = {size: run(patched, size, steps=1) for size in (NATIVE, ODD, LARGE)}
    assert all(torch.equal(first[size], again[size]) and torch.isfinite(first[size]).all() for size in first)


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
    """Exact and Fast are the plain settings; Balanced strides the fine layers alone, whatever global_attention says."""
    fine, coarse = "input.4-5, output.3-5", "input.7-8, middle, output.0-2"
    composed = fusion(fusion(model, global_attention="strided", blocks=fine), blocks=coarse)
    for preset, same in (
        ("Exact", fusion(model)),
        ("Balanced", composed),
        ("Fast", fusion(model, global_attention="strided")),
    ):
        assert torch.equal(run(fusion(model, global_attention="strided", preset=preset), LARGE), run(same, LARGE)), preset


@pytest.mark.parametrize("axes", ["hw", "hwd"])
def test_draft_has_windows_late_and_in_the_up_blocks_only(model, run, axes, monkeypatch):
    monkeypatch.setattr(core_attention, "SMALLEST_PART", 1)  # parts of so small a picture, too
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
    assert lattices == 4 and both == 4 + 9  # one call each: a quarter of the picture at a time
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


# ---------------------------------------------------------------- what they compute


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
    key = host_attention.draw_key(3, sigma, *size, section, number, index)
    views = jittered_views(plan, key) if jitter else fixed_views(plan)
    strides = big.strides if global_attention == "strided" else None
    expected = oracle.scale_fusion_layer(x, weights, heads, grid, plan.jitter, views, big.factor, axes, strides)
    assert torch.allclose(out, expected, rtol=0, atol=2e-5)
    assert not torch.allclose(out, oracle.self_attention(x, weights, heads), atol=1e-2)


@pytest.mark.parametrize("preset", ["FreeScale", "FreeScale + up blocks", "ScaleCrafter"])
@pytest.mark.parametrize("factor", [0, 3])
def test_dilation_equals_the_hosts_layers_with_that_dilation(model, run, preset, factor):
    """The reference sets `dilation` and `padding` of the layers themselves, through the host's object patches."""
    names = {
        "input": [
            "input_blocks.6.0.op",
            *(f"input_blocks.{i}.0.{part}" for i in (7, 8) for part in ("in_layers.2", "out_layers.3")),
        ],
        "middle": [f"middle_block.{i}.{part}" for i in (0, 2) for part in ("in_layers.2", "out_layers.3")],
        "up": [f"output_blocks.{i}.0.{part}" for i in range(3) for part in ("in_layers.2", "out_layers.3")],
    }
    chosen = {
        "FreeScale": ("input", "middle"),
        "FreeScale + up blocks": ("input", "middle", "up"),
        "ScaleCrafter": ("middle", "up"),
    }[preset]
    layers = [name for section in chosen for name in names[section]] + (
        ["output_blocks.2.2.conv"] if preset == "ScaleCrafter" else []
    )
    reference = model.clone()
    for name in layers:
        for attribute in ("dilation", "padding"):
            reference.add_object_patch(f"diffusion_model.{name}.{attribute}", (factor or 2,) * 2)
    patched = dilation(model, preset=preset, factor=float(factor), end_percent=1.0)
    assert torch.allclose(run(patched, LARGE), run(reference, LARGE), rtol=0, atol=1e-5)


def test_dilation_applies_exactly_while_sigma_is_high(model, run):
    """35 of the 50 ddim_uniform steps, counted in the running model: the layer's own forward runs in the last 15 only."""
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "ddim_uniform", 50)
    counted, plain, running = model.clone(), [], []

    def note_sigma(executor, *args, **kwargs):
        running.append(float(args[5]["sigmas"][0]))
        return executor(*args, **kwargs)

    before = counted.get_model_object(OUTPUT + "._conv_forward")
    counted.add_object_patch(OUTPUT + "._conv_forward", lambda x, w, b: plain.append(running[-1]) or before(x, w, b))
    counted.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note_sigma)
    run(dilation(counted), (20, 20), sigmas=sigmas, cfg=1.0)
    assert running == sigmas[:-1].tolist()
    assert plain == running[35:]
    assert min(set(running) - set(plain)) >= sampling.percent_to_sigma(0.7) > max(plain)
    for end_percent, number in ((0.0, 5), (1.0, 0)):
        plain.clear()
        run(dilation(counted, end_percent=end_percent), (20, 20), sigmas=sigmas[::10], cfg=1.0)
        assert len(plain) == number


# ---------------------------------------------------------------- nothing is left behind


def snapshot(value):
    """The deep content of options and patch lists: containers by value, tensors by bits, functions by identity."""
    if isinstance(value, dict):
        return {k: snapshot(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(v) for v in value]
    return value.clone() if isinstance(value, torch.Tensor) else value


def state_of(model):
    return snapshot({
        "options": model.model_options, "object_patches": model.object_patches, "patches": model.patches, "uuid": str(model.patches_uuid),
        "wrappers": model.wrappers, "callbacks": model.callbacks, "injections": model.injections, "hooks": model.hook_patches,
    })  # fmt: skip


def bits_of(model):
    return {k: v.clone() for k, v in model.model.state_dict().items()}


@pytest.fixture
def unchanged(model, run):
    """Fails the test if the shared MODEL is not what it was, or samples other bits than before."""
    picture, state, bits = run(model, LARGE, steps=1), state_of(model), bits_of(model)
    yield
    assert host_convolution._convolves.get({}) == {}
    assert state_of(model) == state
    assert torch.equal(run(model, LARGE, steps=1), picture)  # the host now unloads the clone that the test ran
    now = bits_of(model)
    assert now.keys() == bits.keys() and all(torch.equal(now[k], bits[k]) for k in bits)
    assert state_of(model) == state
    # The convolutions are their own again.
    conv = model.get_model_object(OUTPUT)
    assert conv._conv_forward.__func__ is torch.nn.Conv2d._conv_forward and conv.dilation == conv.padding == (1, 1)


@pytest.mark.parametrize(
    "patch", [*PATCHES.values(), lambda m: dilation(fusion(m, native_size=64), native_size=64)], ids=[*PATCHES, "native_size"]
)
def test_the_input_model_is_untouched(model, run, patch, unchanged):
    patched = patch(model)
    assert patched is not model and patched.model is model.model
    before = state_of(patched)
    run(patched, LARGE)
    assert state_of(patched) == before  # nothing accumulates on the clone either


def at_call(number, action):
    """An output patch that acts when it is called for the n-th time, in the middle of a U-Net call."""
    calls = itertools.count(1)
    return lambda n, extra: (next(calls) == number and action(), n)[1]


def test_an_exception_in_the_middle_leaves_nothing_behind(model, run, unchanged):
    def fail():
        raise RuntimeError("another patch failed")

    patched = both(model)
    patched.set_model_attn2_output_patch(at_call(17, fail))  # 11 attentions a call: in the second step
    with pytest.raises(RuntimeError, match="another patch failed"):
        run(patched, LARGE)
    assert torch.equal(run(both(model), LARGE), run(both(model), LARGE))


def test_an_interrupt_in_the_middle_leaves_nothing_behind(model, run, unchanged):
    def interrupt():
        comfy.model_management.interrupt_current_processing()
        comfy.model_management.throw_exception_if_processing_interrupted()  # newer hosts do so in every layer

    expected = run(both(model), LARGE)
    interrupted = both(model)
    interrupted.set_model_attn2_output_patch(at_call(17, interrupt))
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(interrupted, LARGE)
    assert torch.equal(run(both(model), LARGE), expected)


# ---------------------------------------------------------------- repeatable


def assert_close(a, b):
    """Equal but for float32 rounding: other windows would differ a thousand times as much."""
    assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_same_seed_same_bits(model, run):
    pictures = [run(fusion(model, seed=seed), LARGE) for seed in (7, 7, 8)]
    assert torch.equal(pictures[0], pictures[1])
    assert (pictures[0] - pictures[2]).abs().max() > 1e-3 * pictures[0].abs().max()
    fixed = [run(fusion(model, jitter=False, seed=seed), LARGE) for seed in (7, 8)]
    assert torch.equal(*fixed) and not torch.equal(fixed[0], pictures[0])


def test_the_global_generators_are_left_alone(model, run):
    noise = torch.zeros(1, 4, *LARGE)
    before = torch.get_rng_state()
    run(both(model), LARGE, noise=noise)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("patch", [fusion, hwd, both])
def test_cond_and_uncond_apart_equal_batched(model, run, patch):
    """The host splits them when memory is short; they must share windows all the same."""
    batches = []

    def sample(patched):
        def note(executor, x, *args, **kwargs):
            batches.append(x.shape[0])
            return executor(x, *args, **kwargs)

        patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note)
        return run(patched, LARGE)

    together = sample(patch(model))
    hungry = patch(model)
    hungry.add_object_patch("memory_usage_factor", 1e9)  # the host now believes that one picture fills the memory
    apart = sample(hungry)
    assert batches == [2] * 2 + [1] * 4
    assert_close(together, apart)


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


def test_pictures_of_a_batch_share_their_windows(model, run):
    noise = torch.randn(1, 4, *LARGE, generator=torch.Generator().manual_seed(2))
    latents = run(both(model), LARGE, batch=2, steps=1, noise=noise.repeat(2, 1, 1, 1))
    single = run(both(model), LARGE, batch=1, steps=1, noise=noise)
    assert_close(latents[:1], single)


# ---------------------------------------------------------------- stacking


def in_both_orders(model, run, first, second, size=LARGE):
    """The picture under both patches; each order must give the same bits, and neither patch may be lost."""
    one, two = run(second(first(model)), size), run(first(second(model)), size)
    assert torch.isfinite(one).all() and torch.equal(one, two)
    for alone in (first, second):
        assert not torch.allclose(one, run(alone(model), size), atol=1e-4)
    return one


OURS = pytest.mark.parametrize("ours", [fusion, hwd, dilation, both], ids=["hw", "hwd", "dilation", "both"])


@pytest.mark.parametrize("ours", [fusion, hwd])
def test_stacks_with_each_other(model, run, ours):
    in_both_orders(model, run, ours, dilation)


def test_two_scale_fusions_share_the_blocks_in_either_order(model, run):
    """Each folds its own layers with its own blur: at these native sizes the two differ (S = 2 and 4)."""
    down = lambda m: fusion(m, blur_axes="hwd", blocks="down", native_size=64)  # noqa: E731
    rest = lambda m: fusion(m, blur_axes="hwd", blocks="middle, up", native_size=128)  # noqa: E731
    assert torch.equal(run(rest(down(model)), LARGE, steps=1), run(down(rest(model)), LARGE, steps=1))


@OURS
def test_stacks_with_freeu(model, run, ours):
    in_both_orders(model, run, ours, lambda m: host_node(FreeU, m, 1.1, 1.2, 0.6, 0.4)[0])


@OURS
def test_stacks_with_weight_patches(model, run, ours, unchanged):
    """As a LoRA makes them: on a self-attention and on a dilated convolution."""
    generator = torch.Generator().manual_seed(4)
    keys = ["diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight", OUTPUT + ".weight"]
    changes = {key: (0.2 * torch.randn(model.model.state_dict()[key].shape, generator=generator),) for key in keys}

    def lora(m):
        patched = m.clone()
        assert set(patched.add_patches(changes, 0.8)) == set(keys)
        return patched

    in_both_orders(model, run, ours, lora)


@pytest.mark.parametrize("index", [None, 0])
@pytest.mark.parametrize("ours", [fusion, hwd])
def test_chains_another_attention_replacement(model, run, ours, index):
    """Set before or after, for a block or for one of its transformers: it does the attention, of windows and of all."""
    seen = set()

    def replacement(q, k, v, extra):
        seen.add(q.shape[1])
        batch, _, h, w = extra["activations_shape"]
        assert (batch, h * w) == q.shape[:2]  # it can tell which grid it is given
        return 0.5 * comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"])

    def other(m):
        patched = m.clone()
        patched.set_model_attn1_replace(replacement, "input", 4, index)
        return patched

    in_both_orders(model, run, ours, other)
    run(other(model), NATIVE)
    seen.clear()
    run(other(ours(model)), LARGE)
    assert seen == {64, 256}  # windows of 8 × 8, and the whole 16 × 16


@pytest.mark.parametrize("ours", [fusion, hwd])
def test_another_output_patch_sees_the_batch_it_knows(model, run, ours):
    batches = set()

    def halve(n, extra):
        batches.add(n.shape[0])
        return 0.5 * n

    def other(m):
        patched = m.clone()
        patched.set_model_attn1_output_patch(halve)
        return patched

    in_both_orders(model, run, ours, other)
    assert batches == {2}


def test_a_later_scale_fusion_takes_the_place_of_an_earlier_one(model, run):
    for first, second in itertools.product([fusion, hwd], repeat=2):
        assert torch.equal(run(second(fusion(first(model), seed=9)), LARGE), run(second(model), LARGE))


def test_chains_an_existing_convolution_patch_where_it_is_inactive(model, run):
    def doubled(m):
        patched = m.clone()
        path = OUTPUT + "._conv_forward"
        before = patched.get_model_object(path)
        patched.add_object_patch(path, lambda x, w, b: 2 * before(x, w, b))
        return patched

    native = run(doubled(model), NATIVE)
    assert not torch.equal(native, run(model, NATIVE))
    assert torch.equal(run(dilation(doubled(model)), NATIVE), native)
    assert torch.equal(run(doubled(dilation(model)), NATIVE), native)
    always = {"end_percent": 1.0}
    assert torch.equal(
        run(dilation(doubled(model), **always), LARGE), run(dilation(model, **always), LARGE)
    )  # a dilated layer is ours
    assert not torch.equal(run(doubled(dilation(model)), LARGE), run(dilation(model), LARGE))  # set later, it wraps ours


def hypertile(m):
    return host_node(HyperTile, m, 32, 2, 2, False)[0]


def tome(m):
    return host_node(TomePatchModel, m, 0.5)[0]


@pytest.mark.parametrize("other", [hypertile, tome])
@pytest.mark.parametrize("ours", [fusion, hwd, both])
@pytest.mark.parametrize("size", [LARGE, (40, 20)])
@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_lives_with_nodes_that_change_the_tokens(model, run, other, ours, size, cfg, caplog):
    """Both orders run; a layer whose tokens were merged or tiled keeps the other node's attention; each patched MODEL says so once."""
    for patched in (ours(other(model)), other(ours(model))):
        with caplog.at_level(logging.WARNING):
            assert torch.isfinite(run(patched, size, cfg=cfg, steps=1)).all()
    if (other, size) == (hypertile, LARGE):
        # Every layer is tiled here, so nothing of Scale Fusion remains and hypertile alone gives the same.
        assert len(caplog.messages) == 2
        [text] = set(caplog.messages)
        assert "Scale Fusion" in text and "HyperTile" in text
        if ours is not both:
            assert torch.equal(run(ours(other(model)), size, cfg=cfg, steps=1), run(other(model), size, cfg=cfg, steps=1))


@pytest.mark.parametrize("ours", [fusion, hwd])
def test_hypertile_in_two_tiles_is_not_mistaken_for_our_own_stack(model, run, ours):
    """A 16 × 8 grid in two tiles doubles the batch just as the feature blur does."""

    def two_tiles(m):
        return host_node(HyperTile, m, 64, 1, 1, False)[0]

    patched = ours(two_tiles(model))
    assert torch.isfinite(run(patched, (32, 16), steps=1, cfg=1.0)).all()


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda m: fusion(m, start_percent=0.8, end_percent=0.2),
            ["FreeScale Scale Fusion", "start_percent = 0.8", "end_percent = 0.2"],
        ),
        (lambda m: dilation(m, factor=0.5), ["FreeScale Restrained Dilation", "factor = 0.5", "Write 0"]),
        (
            lambda m: dilation(m, preset="custom", layers="input.0"),
            ["FreeScale Restrained Dilation", "layers = 'input.0'", "Write for instance down, middle"],
        ),
    ],
)
def test_bad_settings_are_refused_by_name(model, call, words):
    with pytest.raises(ValueError) as caught:
        call(model)
    assert all(word in str(caught.value) for word in words)


def test_mistyped_lists_are_refused_when_queued():
    assert ScaleFusionAttentionPatch.validate_inputs(blocks="all") is True
    assert "FreeScale Scale Fusion › blocks = 'dwn'" in ScaleFusionAttentionPatch.validate_inputs(blocks="dwn")
    assert "FreeScale Restrained Dilation › layers = 'dwn'" in RestrainedDilation.validate_inputs(layers="dwn")
