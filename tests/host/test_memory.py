"""What a picture takes of the device's memory, and what a person is told about it."""

import comfy.model_management
import comfy.sample
import comfy.samplers
import families
import pytest
import torch
import unet
from clips import animated, in_windows
from comfy.ldm.modules.attention import FeedForward
from comfy.patcher_extension import WrappersMP
from families import FAMILIES, with_scale_fusion
from freescale.freescale_core import chunks
from freescale.nodes.host.family import family_of
from freescale.nodes.host.memory import memory_text, require_memory
from freescale.nodes.host.scale_fusion.settings import BOTH, GLOBAL_ONLY
from freescale.nodes.host.seam import feed_forward
from freescale.nodes.host.seam.feed_forward import chunk_feed_forwards

FEED_FORWARD = "diffusion_model.middle_block.1.transformer_blocks.0.ff"
SMALLEST_CHUNK = feed_forward.SMALLEST_CHUNK
LARGE = (32, 32)  # a latent of 256 px, where the middle block has 8 × 8 tokens
NATIVE = 32  # px: of a picture this small 24 tokens make a part, so that LARGE has 3 parts in the middle block


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(feed_forward, "SMALLEST_CHUNK", 1)
    monkeypatch.setattr(chunks, "SMALLEST_STACK", 1)


def listening(model, heard):
    """A clone that notes how many tokens its feed-forward widens at a time."""
    patched = model.clone()
    path = FEED_FORWARD + ".net.forward"
    before = patched.get_model_object(path)
    patched.add_object_patch(path, lambda x: heard.append(x.shape[1]) or before(x))
    return patched


def in_parts(model, native=NATIVE):
    patched = model.clone()
    chunk_feed_forwards(patched, family_of(model), native)
    return patched


# ---------------------------------------------------------------- feed-forwards in parts


def test_a_feed_forward_in_parts_draws_the_same_picture(model, run):
    heard = []
    torch.testing.assert_close(run(in_parts(listening(model, heard)), LARGE), run(model, LARGE), atol=1e-5, rtol=1e-5)
    assert heard == [22, 22, 20] * 2
    assert model.get_model_object(FEED_FORWARD).forward.__func__ is type(model.get_model_object(FEED_FORWARD)).forward


def test_scale_fusion_brings_it_along_and_leaves_smaller_pictures_whole(model, run):
    for size, parts in ((LARGE, [22, 22, 20] * 2), ((16, 24), [24] * 2)):
        heard = []
        run(with_scale_fusion(listening(model, heard), native_size=NATIVE), size)
        assert heard == parts


def test_it_does_nothing_twice_and_leaves_what_another_node_changed(model, run):
    heard = []
    run(in_parts(in_parts(listening(model, heard))), LARGE)
    assert heard == [22, 22, 20] * 2

    def halved(m):
        patched = m.clone()
        before = patched.get_model_object(FEED_FORWARD + ".forward")
        patched.add_object_patch(FEED_FORWARD + ".forward", lambda x: before(x) / 2)
        return patched

    torch.testing.assert_close(run(in_parts(halved(model)), LARGE), run(halved(model), LARGE), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(run(halved(in_parts(model)), LARGE), run(halved(model), LARGE), atol=1e-5, rtol=1e-5)


def test_a_feed_forward_between_frames_is_no_wider_than_one_over_the_picture():
    """Its tokens are frames, so it is cut along its rows, which are the picture's places."""
    model, widest = families.build(FAMILIES["Stable Video Diffusion"], native=NATIVE), {}
    places = [
        (name.split(".")[-3], module)
        for name, module in model.model.diffusion_model.named_modules()
        if isinstance(module, FeedForward) and ".time_" in name or name.endswith("transformer_blocks.0.ff")
    ]
    hooks = [
        module.net.register_forward_hook(lambda _, given, __, kind=kind: widest.setdefault(kind, set()).add(given[0].shape))
        for kind, module in places
    ]
    noise, prompts = families.random(4, 4, *LARGE), [families.conditioning(FAMILIES["Stable Video Diffusion"], 1)] * 2
    sampler, clips, most = comfy.samplers.sampler_object("euler"), [], []
    try:
        for each in (model, in_parts(model)):
            widest.clear()
            clips.append(
                comfy.sample.sample_custom(
                    each, noise, 1.0, sampler, torch.tensor([3.0, 0.0]), *prompts, noise, disable_pbar=True
                )
            )
            most.append({kind: max(shape[0] * shape[1] for shape in shapes) for kind, shapes in widest.items()})
    finally:
        for hook in hooks:
            hook.remove()
    assert {shape[1] for shape in widest["time_stack"]} == {4}
    assert most[0] == {"transformer_blocks": 4 * 1024, "time_stack": 4 * 1024}
    assert most[1]["time_stack"] == most[1]["transformer_blocks"] < 4 * 32
    torch.testing.assert_close(*clips, atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- what is taken


def on_meta(family, native=families.NATIVE, **unet):
    """A family's MODEL whose tensors have no memory."""
    config = families.configured(family.host, {**family.unet, **unet}, torch.float16, native, torch.float16)
    return families.patcher(config.get_model(family.marks, device="meta"))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("batch", [1, 2])
def test_every_family_takes_at_least_what_a_person_is_told(family, batch):
    model = on_meta(family)
    for patched in (model, with_scale_fusion(model), with_scale_fusion(model, blur_axes="hwd")):
        taken, told = unet.counted(patched, 512, batch), family_of(model).call_bytes(batch, 512, 512)
        assert told <= taken < 3 * told


@pytest.mark.parametrize(("name", "heads"), [("SDXL", {"num_head_channels": 64}), ("SD 1.5", {})])
def test_what_the_host_reserves_is_enough_for_scale_fusion(name, heads, monkeypatch):
    """So nothing needs to be reported to it: at the true width and sizes, by its formula for GPUs, which reserves the least."""
    monkeypatch.setattr(comfy.model_management, "pytorch_attention_flash_attention", lambda: True)
    monkeypatch.setattr(feed_forward, "SMALLEST_CHUNK", SMALLEST_CHUNK)
    family = FAMILIES[name]
    model = on_meta(family, native=None, model_channels=320, **heads)
    for side in (2 * family.native, 4 * family.native):
        reserved = model.model.memory_required([1, 4, side // 8, side // 8])
        for settings in ({}, {"blur_axes": "hwd"}, {"preset": "Fast"}):
            assert unet.counted(with_scale_fusion(model, **settings), side) < reserved


@pytest.mark.parametrize(("name", "heads"), [("SDXL", {"num_head_channels": 64}), ("SD 1.5", {})])
def test_windows_are_not_the_peak_of_a_call(name, heads, monkeypatch):
    """At the true width and 8×, where they are the most tokens: a call without them takes as much, but for what is kept."""
    monkeypatch.setattr(feed_forward, "SMALLEST_CHUNK", SMALLEST_CHUNK)
    family = FAMILIES[name]
    model = on_meta(family, native=None, model_channels=320, **heads)
    windows, without = (unet.counted(with_scale_fusion(model, branches=b), 8 * family.native) for b in (BOTH, GLOBAL_ONLY))
    assert windows <= 1.002 * without


def test_feed_forwards_in_parts_lower_the_peak():
    model = on_meta(FAMILIES["SDXL"])
    patched = with_scale_fusion(model)
    whole = with_scale_fusion(model)
    whole.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, feed_forward.KEY)
    assert unet.counted(patched, 1024) < 0.8 * unet.counted(whole, 1024)


# ---------------------------------------------------------------- what is told


@pytest.fixture
def device_of(monkeypatch):
    """Lets the host believe in a device of so many bytes."""
    return lambda total: monkeypatch.setattr(comfy.model_management, "get_total_memory", lambda device: total)


def test_a_stage_that_no_empty_device_could_hold_is_refused_with_the_size_that_fits(model, device_of):
    sizes = [(512, 1024), (1024, 2048)]
    least = family_of(model).call_bytes(1, *sizes[-1])
    device_of(least)
    require_memory("node", "2x, 2x", model, 1, sizes)
    device_of(least - 1)
    with pytest.raises(
        ValueError, match=r"node › stages = '2x, 2x': 2048x1024 px takes at least .* and the device has .*2040x1016 may fit$"
    ):
        require_memory("node", "2x, 2x", model, 1, sizes)
    require_memory("node", "…", model, 1, [(1016, 2040)])
    with pytest.raises(ValueError, match="2 pictures or frames at once, .*or fewer at once$"):
        require_memory("node", "2x, 2x", model, 2, sizes)


def test_of_a_clip_only_the_frames_that_are_drawn_at_once_count(model, device_of):
    """96 frames in context windows of 16 take what 16 take; how many a pack's motion modules get is known to it alone."""
    size = [(256, 256)]
    device_of(family_of(model).call_bytes(16, *size[0]))
    with pytest.raises(ValueError, match="96 pictures or frames at once, .*or fewer at once$"):
        require_memory("node", "2x", model, 96, size)
    require_memory("node", "2x", in_windows(model, 16), 96, size)
    require_memory("node", "2x", animated(model)[0], 96, size)
    with pytest.raises(ValueError, match="17 pictures or frames at once, "):
        require_memory("node", "2x", in_windows(model, 17), 96, size)


def test_nothing_is_refused_where_the_host_does_not_know_the_device(model, device_of, monkeypatch):
    device_of(1)
    monkeypatch.setattr(comfy.model_management, "directml_enabled", True)
    require_memory("node", "2x", model, 1, [(1024, 1024)])


def test_memory_is_told_in_words():
    assert [memory_text(n << 20) for n in (3, 1023, 1024, 1740, 40 << 10)] == ["3 MB", "1023 MB", "1.0 GB", "1.7 GB", "40.0 GB"]
