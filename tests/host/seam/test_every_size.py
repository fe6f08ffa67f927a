"""Under any of our patches: nothing at the native size, the same model at every other, whatever is batched."""

import pytest
import torch
from comfy.patcher_extension import WrappersMP
from families import with_scale_fusion as fusion
from patching import LARGE, assert_close, both, every_patch, hwd


@every_patch
def test_changes_nothing_at_the_native_size_or_below_and_something_above(acts_only_above_the_native_size, patch):
    acts_only_above_the_native_size(patch)


@every_patch
def test_one_patched_model_serves_every_size_in_any_order(serves_every_size, patch):
    serves_every_size(patch)


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


def test_pictures_of_a_batch_share_their_windows(model, run):
    noise = torch.randn(1, 4, *LARGE, generator=torch.Generator().manual_seed(2))
    latents = run(both(model), LARGE, batch=2, steps=1, noise=noise.repeat(2, 1, 1, 1))
    single = run(both(model), LARGE, batch=1, steps=1, noise=noise)
    assert_close(latents[:1], single)
