"""After a run, an error or Cancel under our patches everything is what it was before."""

import comfy.model_management
import pytest
import torch
from families import with_dilation as dilation
from families import with_scale_fusion as fusion
from freescale.nodes.host.seam.calls import replaced
from patching import LARGE, PATCHES, at_call, both, interrupt


@pytest.mark.parametrize(
    "patch", [*PATCHES.values(), lambda m: dilation(fusion(m, native_size=64), native_size=64)], ids=[*PATCHES, "native_size"]
)
def test_the_input_model_is_untouched(leaves_the_input_alone, patch):
    leaves_the_input_alone(patch)


def test_an_exception_in_the_middle_leaves_nothing_behind(model, run, unchanged):
    def fail():
        raise RuntimeError("another patch failed")

    patched = both(model)
    patched.set_model_attn2_output_patch(at_call(17, fail))  # 11 attentions a call: in the second step
    with pytest.raises(RuntimeError, match="another patch failed"):
        run(patched, LARGE)
    assert torch.equal(run(both(model), LARGE), run(both(model), LARGE))


def test_an_interrupt_in_the_middle_leaves_nothing_behind(model, run, unchanged):
    expected = run(both(model), LARGE)
    interrupted = both(model)
    interrupted.set_model_attn2_output_patch(at_call(17, interrupt))
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(interrupted, LARGE)
    assert torch.equal(run(both(model), LARGE), expected)


def test_the_global_generators_are_left_alone(model, run):
    noise = torch.zeros(1, 4, *LARGE)
    before = torch.get_rng_state()
    run(both(model), LARGE, noise=noise)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_was_there_before_comes_back():
    module = torch.nn.Conv2d(1, 1, 3)
    module._conv_forward = "another's"
    with replaced(module, "_conv_forward", "ours"), replaced(module, "_conv_forward", "ours too"):
        assert module._conv_forward == "ours too"
    assert module._conv_forward == "another's"
