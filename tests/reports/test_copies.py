"""Copies of a model: compiled, for another device, without dynamic VRAM. Each works with its own modules."""

import copy
import gc
import weakref
from functools import partial

import comfy.hooks
import comfy.model_management
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_torch_compile import TorchCompileModel
from dynamic_vram import *  # noqa: F403
from dynamic_vram import every_kind
from families import FAMILIES, build, host_node, with_dilation, with_scale_fusion
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from patching import LARGE, NATIVE, every_method, with_weight_patches

SDXL = FAMILIES["SDXL"]
MAKES_ONCE_MORE = hasattr(ModelPatcher, "deepclone_multigpu")
# What a LoRA changes: a feed-forward, a self-attention, a convolution that is dilated.
BLOCK = "diffusion_model.input_blocks.4.1.transformer_blocks.0"
LORA = [f"{BLOCK}.ff.net.2.weight", f"{BLOCK}.attn1.to_v.weight", f"diffusion_model.{SDXL.dilated[1]}.weight"]


def sdxl():
    """A MODEL that hosts can make once more, as those of their loaders."""
    model = build(SDXL)
    if MAKES_ONCE_MORE:
        model.cached_patcher_init = (build, (SDXL,))
    return model


def copied(patched):
    """The patched clone on a copy of its model: by MultiGPU CFG Split's own way of newer hosts, or deep-copied."""
    if MAKES_ONCE_MORE:
        return patched.deepclone_multigpu(new_load_device=patched.load_device)
    moved = patched.clone()
    moved.model = copy.deepcopy(patched.model)
    return moved


def changed(network):
    """Other weights, wherever a patch of ours may reach."""
    for name, parameter in network.named_parameters():
        if ".ff." in name or "in_layers.2" in name or name.endswith("op.weight"):
            parameter.mul_(1.5)


def demo_picture(positive, negative, model):
    """What the demo model samples at 2×, in two steps."""
    latent = torch.zeros(1, 4, 64, 64)
    noise = comfy.sample.prepare_noise(latent, 1)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 2)
    sampler = comfy.samplers.sampler_object("euler")
    return comfy.sample.sample_custom(model, noise, 3.0, sampler, sigmas, positive, negative, latent, disable_pbar=True, seed=1)


def compiled(model):
    """By the host's node; this backend generates no code."""
    torch._dynamo.reset()
    return host_node(TorchCompileModel, model, "eager")[0]


@every_method
def test_a_copy_runs_its_own_modules(run, patch):
    """ComfyUI#7063, #16016: on a second device the feed-forwards of the first one's model ran."""
    patched = patch(sdxl())
    original = run(patched, LARGE)
    moved = copied(patched)
    assert moved.model is not patched.model
    changed(moved.model.diffusion_model)
    afresh = build(SDXL)
    changed(afresh.model.diffusion_model)
    drawn = run(moved, LARGE)
    assert torch.equal(drawn, run(patch(afresh), LARGE))
    assert not torch.equal(drawn, original)
    assert torch.equal(run(patched, LARGE), original)


@every_method
def test_a_patch_does_not_keep_the_first_model(run, patch):
    """ComfyUI#12204: a compiled copy, and the memory of the model that it was made of is never freed."""
    model = sdxl()
    moved = copied(patch(model))
    network = weakref.ref(model.model.diffusion_model)
    moved.parent = None
    del model
    gc.collect()
    assert network() is None
    assert torch.isfinite(run(moved, LARGE)).all()


@every_kind
@pytest.mark.parametrize("order", ["ours first", "compiled first"])
def test_compiled_it_works_with_its_own_modules_and_with_its_lora(loaded, run, kind, order):
    """ComfyUI#12612, #12204: TorchCompileModel makes the model once more where VRAM is dynamic, and the patches stayed the first one's."""
    model = with_weight_patches(loaded(SDXL, kind), LORA)
    ours = lambda m: with_dilation(with_scale_fusion(m))  # noqa: E731
    chosen = compiled(ours(model)) if order == "ours first" else ours(compiled(model))
    assert not getattr(chosen, "is_dynamic", bool)()
    reference = with_weight_patches(build(SDXL), LORA)
    for size, expected in ((LARGE, ours(reference)), (NATIVE, reference), (LARGE, ours(reference))):
        picture = run(expected, size)
        assert torch.allclose(run(chosen, size), picture, atol=1e-3 * float(picture.abs().max()))
    assert not torch.allclose(run(ours(build(SDXL)), LARGE), run(ours(reference), LARGE), atol=1e-2)
    if kind == "dynamic":
        first = weakref.ref(model.model.diffusion_model)
        chosen.parent = None
        torch._dynamo.reset()
        del model
        comfy.model_management.unload_all_models()
        gc.collect()
        assert first() is None


@every_kind
@every_method
def test_under_dynamic_vram_it_is_the_same_picture(loaded, run, kind, patch):
    """ComfyUI#12653: what other packs put into a model's layers was lost where VRAM is dynamic."""
    assert torch.equal(run(patch(loaded(SDXL, kind)), LARGE), run(patch(build(SDXL)), LARGE))


@every_kind
@pytest.mark.parametrize("size", [NATIVE, LARGE])
def test_a_lora_that_a_prompt_schedules(loaded, prompts, kind, size):
    """ComfyUI#12653: LoRA hooks of a prompt move the sampling to a copy; at the native size it must give the host's own bits."""
    up, down = (torch.randn(shape, generator=torch.Generator().manual_seed(8)) for shape in ((128, 4), (4, 128)))
    name = "lora_unet_input_blocks_7_1_transformer_blocks_0_attn1_to_v"
    hooks = comfy.hooks.create_hook_lora({f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}, 1.0, 0.0)
    (positive, negative), latent = prompts, torch.zeros(1, 4, *size)

    def drawn(model, **more):
        hooked = [[tokens, {**values, **more}] for tokens, values in positive]
        noise = comfy.sample.prepare_noise(latent, 5)
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 2)
        sampler = comfy.samplers.sampler_object("euler")
        return comfy.sample.sample_custom(model, noise, 3.0, sampler, sigmas, hooked, negative, latent, disable_pbar=True, seed=5)

    ours = lambda m: with_dilation(with_scale_fusion(m))  # noqa: E731
    expected = drawn(build(SDXL) if size == NATIVE else ours(build(SDXL)), hooks=hooks)
    assert torch.equal(drawn(ours(loaded(SDXL, kind)), hooks=hooks), expected)
    assert not torch.allclose(drawn(ours(build(SDXL))), expected, atol=1e-3)


def test_the_demo_model_can_be_made_once_more(run):
    """ComfyUI#13599: "the loader that produced this model does not support multigpu", where it makes the model by itself."""
    model, positive, negative, vae = FreeScaleDemoModel.execute("yes", 0.5, "portrait").args
    patched = with_dilation(with_scale_fusion(model))
    moved = copied(patched)
    weights = model.model.diffusion_model.state_dict()
    own = moved.model.diffusion_model.state_dict()
    assert weights.keys() == own.keys() and all(torch.equal(weights[k], own[k]) for k in own)
    assert not {id(p) for p in model.model.parameters()} & {id(p) for p in moved.model.parameters()}
    drawn = partial(demo_picture, positive, negative)

    assert torch.equal(drawn(moved), drawn(patched))
    with torch.no_grad():
        changed(moved.model.diffusion_model)
    assert not torch.equal(drawn(moved), drawn(patched))
    if MAKES_ONCE_MORE:  # Select VAE Device does the same with its VAE, Select Model Device without dynamic VRAM
        other = vae.patcher.deepclone_multigpu(new_load_device=vae.patcher.load_device)
        assert other.model is not vae.first_stage_model
        assert all(torch.equal(a, b) for a, b in zip(other.model.parameters(), vae.first_stage_model.parameters(), strict=True))
        assert model.clone(force_deepcopy=True).model is not model.model
