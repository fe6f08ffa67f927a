"""Copies of a model work with their own modules, and so does what runs in other threads."""

import gc
import threading
import weakref

import pytest
import torch
from families import FAMILIES, build, with_dilation, with_scale_fusion
from freescale.nodes.host.seam.calls import replaced
from freescale.nodes.rivals.demofusion import FreeScaleRivalDemoFusion
from freescale.nodes.rivals.fouriscale import FreeScaleRivalFouriScale
from freescale.nodes.rivals.hidiffusion import FreeScaleRivalHiDiffusion
from freescale.nodes.rivals.scalecrafter import FreeScaleRivalScaleCrafter

LARGE = (32, 32)
PATCHES = {
    "Scale Fusion": with_scale_fusion,
    "hwd": lambda m: with_scale_fusion(m, blur_axes="hwd"),
    "dilation": with_dilation,
    "ScaleCrafter": lambda m: FreeScaleRivalScaleCrafter.execute(m, noise_damping=True, native_size=0).args[0],
    "DemoFusion": lambda m: FreeScaleRivalDemoFusion.execute(m, blur=1.0, seed=0, native_size=0).args[0],
    "FouriScale": lambda m: FreeScaleRivalFouriScale.execute(m, full_percent=0.4, end_percent=0.7, native_size=0).args[0],
    "HiDiffusion": lambda m: FreeScaleRivalHiDiffusion.execute(m, seed=0, native_size=0).args[0],
}
every_patch = pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)


def on_a_copy(patched):
    """The patched clone, but of its model made once more: so newer hosts copy a model for another device, or to compile it."""
    moved = patched.clone()
    moved.model = build(FAMILIES["SDXL"]).model
    return moved


@every_patch
def test_a_copy_runs_its_own_modules(run, patch):
    """Its weights are changed: the picture is that of a model with those weights, patched anew."""
    model = build(FAMILIES["SDXL"])
    patched = patch(model)
    original = run(patched, LARGE)
    moved = on_a_copy(patched)
    with torch.no_grad():
        for name, parameter in moved.model.diffusion_model.named_parameters():
            if ".ff." in name or "in_layers.2" in name or name.endswith("op.weight"):
                parameter.mul_(1.5)
    afresh = build(FAMILIES["SDXL"])
    afresh.model.diffusion_model.load_state_dict(moved.model.diffusion_model.state_dict())
    drawn = run(moved, LARGE)
    assert torch.equal(drawn, run(patch(afresh), LARGE))
    assert not torch.equal(drawn, original)
    assert torch.equal(run(patched, LARGE), original)


@every_patch
def test_a_patch_does_not_keep_the_first_model(run, patch):
    model = build(FAMILIES["SDXL"])
    moved = on_a_copy(patch(model))
    network = weakref.ref(model.model.diffusion_model)
    moved.parent = None
    del model
    gc.collect()
    assert network() is None
    assert torch.isfinite(run(moved, LARGE)).all()


@every_patch
def test_parts_of_the_network_may_run_in_other_threads(run, patch):
    """As packs do that split a network; nothing of a patch hangs on the thread that it was put in by."""
    model = build(FAMILIES["SDXL"])
    expected, ran = run(patch(model), LARGE), []

    def elsewhere(forward):
        def in_a_thread(*args):
            answer = []

            def work():
                with torch.inference_mode():
                    answer.append(forward(*args))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            ran.append(thread)
            return answer[0]

        return in_a_thread

    for layer in model.model.diffusion_model.middle_block:
        layer.forward = elsewhere(layer.forward)
    assert torch.equal(run(patch(model), LARGE), expected) and ran


def test_calls_that_overlap_leave_nothing_behind():
    """Two threads call one model; the first to come is the first to go."""
    module, entered, left = torch.nn.Conv2d(1, 1, 3), threading.Event(), threading.Event()
    own = module._conv_forward.__func__

    def first():
        with replaced(module, "_conv_forward", "first"):
            entered.set()
            left.wait()

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    with replaced(module, "_conv_forward", "second"):
        left.set()
        thread.join()
        assert module._conv_forward == "second"
    assert module._conv_forward.__func__ is own and "_conv_forward" not in vars(module)


def test_what_was_there_before_comes_back():
    module = torch.nn.Conv2d(1, 1, 3)
    module._conv_forward = "another's"
    with replaced(module, "_conv_forward", "ours"), replaced(module, "_conv_forward", "ours too"):
        assert module._conv_forward == "ours too"
    assert module._conv_forward == "another's"
