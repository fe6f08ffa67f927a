"""MultiGPU CFG Split of newer hosts, on two devices that are one CPU here: a copy of the model and a thread for each prompt."""

import gc
import threading
import weakref
from collections import defaultdict

import comfy.model_management
import pytest
import torch
from comfy_extras.nodes_multigpu import MultiGPUCFGSplitNode
from families import FAMILIES, build, with_scale_fusion
from freescale.nodes.cascade.cascade import SelfCascadeUpscale
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from patching import LARGE, at_call, both, every_method, interrupt

SDXL = FAMILIES["SDXL"]
# Layout and detail in the first step, and windows alone in the last.
PATCHES = {"U-Net": both, "transformer": lambda m: with_scale_fusion(m, global_attention="mixed")}
every_network = pytest.mark.parametrize("network", PATCHES)
SETTINGS = dict(
    stages="2x", seed=1, steps=4, cfg=3.0, sampler_name="dpmpp_2m", scheduler="simple", denoise=0.7, detail=2.0, resize_in="latent",
    vae_tiling="never",
)  # fmt: skip


@pytest.fixture
def split(monkeypatch):
    """split(model): by the host's node."""
    devices = [torch.device("cpu"), torch.device("cpu", 0)]
    monkeypatch.setattr(comfy.model_management, "get_all_torch_devices", lambda **_: devices)
    return lambda model: MultiGPUCFGSplitNode.execute(model, 2).args[0]


def sdxl():
    """A MODEL that the host can make once more."""
    model = build(SDXL)
    model.cached_patcher_init = (build, (SDXL,))
    return model


def networks_of(chosen):
    """Of the model, and of its copy for the other device."""
    models = [chosen, *chosen.get_additional_models_with_key("multigpu")]
    assert len(models) == 2
    return [each.model.diffusion_model for each in models]


def threads_of(chosen):
    """By network: which threads have run a layer of it, from now on."""
    ran = defaultdict(set)
    for network in networks_of(chosen):
        for module in network.modules():
            if not list(module.children()):
                module.register_forward_pre_hook(lambda *_, n=network: ran[n].add(threading.current_thread()))
    return ran


def one_prompt_at_a_time(patched):
    """The host believes that one picture fills the memory: then a batch has the same size as on two devices, and so the same bits."""
    hungry = patched.clone()
    hungry.add_object_patch("memory_usage_factor", 1e9)
    return hungry


def assert_apart(ran):
    """Two networks, and a thread of its own for each: a patch that kept another's layer would run it in the other thread."""
    threads = list(ran.values())
    assert [len(each) for each in threads] == [1, 1] and threads[0] != threads[1]
    assert not any(thread.is_alive() for each in threads for thread in each)


def assert_clean(chosen):
    """No layer has kept anything of a call."""
    for network in networks_of(chosen):
        for module in network.modules():
            assert not {"forward", "_conv_forward"} & vars(module).keys()


@every_method
def test_every_method_draws_the_same_bits(split, run, patch):
    """ComfyUI#16016: on a second device the layers of the first one's model ran."""
    model = sdxl()
    expected, chosen = run(one_prompt_at_a_time(patch(model)), LARGE), split(patch(model))
    run(chosen, LARGE)
    ran = threads_of(chosen)
    assert torch.equal(run(chosen, LARGE), expected)
    assert_apart(ran)
    assert_clean(chosen)
    assert not torch.allclose(expected, run(model, LARGE), atol=1e-3)


@every_network
def test_a_cascade_draws_the_same_bits_wherever_the_split_is_wired(split, network):
    """Before our nodes and after them; and both prompts at once, as on one device with the memory for it, differ by rounding."""
    model, positive, negative, vae = FreeScaleDemoModel.execute("yes", 0.5, "portrait", network).args
    latent = {"samples": torch.randn(1, 4, 20, 20, generator=torch.Generator().manual_seed(3))}
    patch = PATCHES[network]

    def drawn(model):
        wired = dict(model=model, positive=positive, negative=negative, vae=vae, latent_image=latent)
        return SelfCascadeUpscale.execute(**wired, **SETTINGS).args[1]["samples"]

    expected = drawn(one_prompt_at_a_time(patch(model)))
    for chosen in (split(patch(model)), patch(split(model))):
        ran = threads_of(chosen)
        assert torch.equal(drawn(chosen), expected)
        assert_apart(ran)
        assert_clean(chosen)
    assert torch.allclose(drawn(patch(model)), expected, atol=1e-4 * float(expected.abs().max()))


def test_cancel_in_one_of_the_threads_leaves_nothing_behind(split, run):
    """Whichever comes to it; the other one is awaited."""
    model = sdxl()
    chosen = split(both(model))
    expected = run(chosen, LARGE)
    cancelled = chosen.clone()
    cancelled.set_model_attn1_output_patch(at_call(5, interrupt))
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(cancelled, LARGE)
    assert_clean(cancelled)
    assert torch.equal(run(chosen, LARGE), expected)


@every_network
def test_a_copy_keeps_nothing_of_the_first_model(network):
    """ComfyUI#12204: the memory of the model that a copy was made of was never freed."""
    model = FreeScaleDemoModel.execute("yes", 0.5, "portrait", network).args[0]
    copy = PATCHES[network](model).deepclone_multigpu(new_load_device=model.load_device)
    first = weakref.ref(model.model.diffusion_model)
    copy.parent = None
    del model
    gc.collect()
    assert first() is None
