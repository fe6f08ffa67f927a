"""Values that are not numbers, from anywhere in mid-run: nothing is drawn on top of them."""

import pytest
import torch
from staging import step

NAN = float("nan")
SOURCE = torch.rand(1, 128, 128, 3, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def calls(demo):
    """(MODEL, positive, negative, VAE, and what notes each call of the network)."""
    noted, model = [], demo[0].clone()
    model.set_model_unet_function_wrapper(
        lambda apply, args: noted.append(1) or apply(args["input"], args["timestep"], **args["c"])
    )
    return (model, *demo[1:]), noted


@pytest.mark.parametrize("bad", [NAN, float("inf")])
@pytest.mark.parametrize("coder", ["encode", "decode"])
def test_a_vae_that_overflows_is_named(calls, monkeypatch, coder, bad):
    """ComfyUI#14743, #13166: a VAE in half precision gives a black picture, on which the next stage drew all its steps."""
    wired, noted = calls
    network = wired[3].first_stage_model
    # inside the network, as half precision does: what leaves it the host clamps, which makes white of infinity
    first = next(layer for layer in getattr(network, f"taesd_{coder}r").modules() if isinstance(layer, torch.nn.Conv2d))
    whole = first.forward
    monkeypatch.setattr(first, "forward", lambda *args: whole(*args) * bad)
    with pytest.raises(ValueError, match=r"stages = '192x160'.*VAE.*--fp32-vae.*kept"):
        step(wired, 160, 192, image=SOURCE)
    assert len(noted) == (0 if coder == "encode" else len(noted)) and len(noted) < 3


@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_a_model_that_overflows_is_not_decoded(demo, monkeypatch, bad):
    """A LoRA at a wrong strength, or an attention backend on a card that it does not know."""
    model = demo[0].clone()
    model.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * bad)
    monkeypatch.setattr(demo[3].first_stage_model, "decode", lambda *_: pytest.fail("decoded in vain"))
    with pytest.raises(ValueError, match=r"stages = '192x160'.*sampling.*half precision.*kept"):
        step((model, *demo[1:]), 160, 192, image=SOURCE)
