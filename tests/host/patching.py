"""The pack's patches on a MODEL in many settings, and what tests of any patch compare and wire."""

import itertools

import comfy.model_management
import pytest
import torch
from comfy_extras.nodes_freelunch import FreeU
from families import host_node
from families import with_dilation as dilation
from families import with_scale_fusion as fusion
from freescale.nodes.rivals.demofusion import FreeScaleRivalDemoFusion
from freescale.nodes.rivals.fouriscale import FreeScaleRivalFouriScale
from freescale.nodes.rivals.hidiffusion import FreeScaleRivalHiDiffusion
from freescale.nodes.rivals.scalecrafter import FreeScaleRivalScaleCrafter

import nodes as host_nodes  # noqa: F401  the host's nodes: comfy_extras above rely on them

NATIVE, LARGE, HUGE = (16, 16), (32, 32), (64, 64)  # latents of 128 px, the model's native size, of 256 and of 512 px
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
METHODS = {
    "Scale Fusion": fusion,
    "hwd": hwd,
    "dilation": dilation,
    "ScaleCrafter": lambda m: FreeScaleRivalScaleCrafter.execute(m, noise_damping=True, native_size=0).args[0],
    "DemoFusion": lambda m: FreeScaleRivalDemoFusion.execute(m, blur=1.0, seed=0, native_size=0).args[0],
    "FouriScale": lambda m: FreeScaleRivalFouriScale.execute(m, full_percent=0.4, end_percent=0.7, native_size=0).args[0],
    "HiDiffusion": lambda m: FreeScaleRivalHiDiffusion.execute(m, seed=0, native_size=0).args[0],
}
every_method = pytest.mark.parametrize("patch", METHODS.values(), ids=METHODS)  # the rivals, too

every_patch = pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)


def snapshot(value):
    """The deep content of options and patch lists: containers by value, tensors by bits, functions by identity."""
    if isinstance(value, dict):
        return {k: snapshot(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(v) for v in value]
    return value.clone() if isinstance(value, torch.Tensor) else value


def state_of(model):
    """Everything of a MODEL but its weights."""
    return snapshot({
        "options": model.model_options, "object_patches": model.object_patches, "patches": model.patches, "uuid": str(model.patches_uuid),
        "wrappers": model.wrappers, "callbacks": model.callbacks, "injections": model.injections, "hooks": model.hook_patches,
    })  # fmt: skip


def bits_of(model):
    return {k: v.clone() for k, v in model.model.state_dict().items()}


def assert_close(a, b, rounding=1e-5):
    """Equal but for float32 rounding: other windows would differ a thousand times as much."""
    off, most = (a - b).abs().max(), b.abs().max()
    assert off <= rounding * most, f"{off} off, of {most} at most"


def at_call(number, action):
    """An output patch that acts when it is called for the n-th time, in the middle of a U-Net call."""
    calls = itertools.count(1)
    return lambda n, extra: (next(calls) == number and action(), n)[1]


def interrupt():
    """Cancel, as newer hosts notice it in every layer."""
    comfy.model_management.interrupt_current_processing()
    comfy.model_management.throw_exception_if_processing_interrupted()


def freeu(m):
    """Another node's patch of the skip connections."""
    return host_node(FreeU, m, 1.1, 1.2, 0.6, 0.4)[0]


def with_weight_patches(m, keys):
    """A clone with weights changed as a LoRA does it."""
    generator = torch.Generator().manual_seed(4)
    changes = {key: (0.2 * torch.randn(m.model.state_dict()[key].shape, generator=generator),) for key in keys}
    patched = m.clone()
    assert set(patched.add_patches(changes, 0.8)) == set(keys)
    return patched
