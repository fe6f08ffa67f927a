"""The size that a stage tells SDXL: the native picture's, but for prompts that set their own."""

import pytest
import torch
from comfy.patcher_extension import WrappersMP
from freescale.nodes.patches.scale_fusion import ScaleFusionAttentionPatch
from staging import step


@pytest.fixture
def sizes_seen(demo):
    """The demo with a MODEL that records the size conditioning that its U-Net is given; its prompts set none."""
    seen, patched = [], demo[0].clone()
    unset = [[[tokens, {"pooled_output": values["pooled_output"]}] for tokens, values in prompt] for prompt in demo[1:3]]

    def note(executor, x, timesteps, context=None, y=None, *args, **kwargs):
        seen.append(y[:, -6 * 256 :])
        return executor(x, timesteps, context, y, *args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note)
    return (patched, *unset, demo[3]), seen


def embedded(demo, height, width):
    """SDXL's embedding of (height, width, crop 0, 0, target height, width)."""
    embedder = demo[0].model.embedder
    return embedder(torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)).flatten()


@pytest.mark.parametrize(("height", "width", "native"), [(384, 384, (256, 256)), (256, 400, (192, 320)), (192, 192, (192, 192))])
def test_size_conditioning_is_pinned_to_the_native_picture(sizes_seen, demo, small, height, width, native):
    watching, seen = sizes_seen
    step(watching, height, width, image=torch.rand(1, 64, 64, 3), steps=1, denoise=1.0)
    assert seen and all(torch.allclose(row, embedded(demo, *native), atol=1e-5) for y in seen for row in y)


def test_size_conditioning_follows_the_native_size_of_the_patches(sizes_seen, demo):
    """A Turbo model is native at another size than its family's: its patches say so, and the cascade listens."""
    (model, *others), seen = sizes_seen
    turbo = ScaleFusionAttentionPatch.execute(model, "full", "hw", False, 0, 128, 0.0, 1.0, "middle").args[0]
    step((turbo, *others), 256, 192, image=torch.rand(1, 64, 64, 3), steps=1, denoise=1.0)
    assert seen and all(torch.allclose(row, embedded(demo, 128, 128), atol=1e-5) for y in seen for row in y)


def test_a_prompts_own_size_conditioning_is_kept(sizes_seen, demo):
    (model, positive, negative, vae), seen = sizes_seen
    positive = [[tokens, {**values, "width": 640, "height": 512}] for tokens, values in positive]
    before = [dict(values) for _, values in positive + negative]
    step((model, positive, negative, vae), 328, 328, image=torch.rand(1, 64, 64, 3), steps=1, denoise=1.0)
    rows = torch.cat(seen)
    matches = [torch.isclose(rows, embedded(demo, *size), atol=1e-5).all(1).sum() for size in ((512, 640), (256, 256))]
    assert matches[0] == matches[1] == len(rows) / 2
    assert [values.keys() for _, values in positive + negative] == [values.keys() for values in before]  # not written into
