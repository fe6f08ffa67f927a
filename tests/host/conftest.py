"""What holds under every patch."""

import comfy.supported_models
import pytest
import torch
from freescale.nodes.host.seam.joint_attention import HAS_OVERRIDE
from host_models import *  # noqa: F403
from patching import LARGE, NATIVE, ODD, OUTPUT, bits_of, state_of

# Older hosts have no way into a transformer's attention, nor most of the transformers, nor do they load a narrow VAE of films.
YOUNGER = ["seam/test_joint_attention.py", "stage/test_flow.py", "stage/test_films.py", "stage/test_films_of_ltx.py"]
# And LTX-2, or the guides that came with it, are of 2026.
collect_ignore = [] if HAS_OVERRIDE else YOUNGER
if not hasattr(comfy.supported_models, "LTXAV"):
    collect_ignore += ["seam/test_guides.py", "stage/test_films_with_sound.py"]


@pytest.fixture
def unchanged(model, run):
    """Fails the test if the shared MODEL is not what it was, or samples other bits than before."""
    picture, state, bits = run(model, LARGE, steps=1), state_of(model), bits_of(model)
    yield
    assert state_of(model) == state
    assert torch.equal(run(model, LARGE, steps=1), picture)  # the host now unloads the clone that the test ran
    now = bits_of(model)
    assert now.keys() == bits.keys() and all(torch.equal(now[k], bits[k]) for k in bits)
    assert state_of(model) == state
    # The convolutions are their own again, and no module has kept anything.
    for module in model.model.diffusion_model.modules():
        for name in {"forward", "_conv_forward"} & vars(module).keys():  # the host puts its own back so, after object patches
            assert vars(module)[name].__func__ is getattr(type(module), name) and vars(module)[name].__self__ is module
    conv = model.get_model_object(OUTPUT)
    assert conv._conv_forward.__func__ is torch.nn.Conv2d._conv_forward and conv.dilation == conv.padding == (1, 1)


@pytest.fixture
def leaves_the_input_alone(model, run, unchanged):
    """leaves_the_input_alone(patch): a clone is patched, and a run changes neither it nor the MODEL."""

    def check(patch):
        patched = patch(model)
        assert patched is not model and patched.model is model.model
        before = state_of(patched)
        run(patched, LARGE)
        assert state_of(patched) == before  # nothing accumulates on the clone either

    return check


@pytest.fixture
def acts_only_above_the_native_size(model, run):
    """acts_only_above_the_native_size(patch): nothing changes there or below, something does above."""

    def check(patch):
        for size in (NATIVE, (8, 12), (20, 16)):
            assert torch.equal(run(patch(model), size), run(model, size))
        assert not torch.allclose(run(patch(model), LARGE), run(model, LARGE), atol=1e-3)

    return check


@pytest.fixture
def serves_every_size(model, run):
    """serves_every_size(patch): one patched MODEL draws each size alike, in any order."""

    def check(patch):
        patched = patch(model)
        first = {size: run(patched, size, steps=1) for size in (LARGE, ODD, NATIVE)}
        again = {size: run(patched, size, steps=1) for size in (NATIVE, ODD, LARGE)}
        assert all(torch.equal(first[size], again[size]) and torch.isfinite(first[size]).all() for size in first)

    return check


@pytest.fixture
def in_both_orders(model, run):
    """in_both_orders(first, second): each order must give the same bits, and neither patch may be lost."""

    def check(first, second):
        one, two = run(second(first(model)), LARGE), run(first(second(model)), LARGE)
        assert torch.isfinite(one).all() and torch.equal(one, two)
        for alone in (first, second):
            assert not torch.allclose(one, run(alone(model), LARGE), atol=1e-4)

    return check
