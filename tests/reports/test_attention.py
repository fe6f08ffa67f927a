"""Attention functions that cannot do every shape: Sage, Flash, and those that another pack puts in their place."""

import logging

import comfy.ldm.modules.attention as attention
import comfy.sample
import comfy.samplers
import pytest
import torch
from families import FAMILIES, build, conditioning, with_scale_fusion
from freescale.nodes.host.seam import fallbacks

SD15 = FAMILIES["SD 1.5"]
NATIVE, LARGE = (16, 16), (24, 24)
STEPS = 3


def one_level(width):
    """SD 1.5 of one level, with heads of that width: 40, 80 and 160 are those of its levels."""
    level = dict(num_res_blocks=[1], channel_mult=[1], transformer_depth=[1], transformer_depth_output=[1, 1])
    return build(SD15, model_channels=160, num_heads=-1, num_head_channels=width, **level)


def drawn(model, size):
    latent = torch.zeros(1, 4, *size)
    noise = comfy.sample.prepare_noise(latent, 5)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    sampler, prompts = comfy.samplers.sampler_object("euler"), [conditioning(SD15, seed) for seed in (1, 2)]
    return comfy.sample.sample_custom(model, noise, 3.0, sampler, sigmas, *prompts, latent, disable_pbar=True, seed=5)


def sageattn(q, k, v, tensor_layout="HND", sm_scale=None, attn_mask=None, **_):
    """Stands for SageAttention's kernel, which has no code for a CPU: heads of at most 128, padded where they are not 64 or 128."""
    if q.shape[-1] > 128:
        raise ValueError(f"Unsupported head_dim: {q.shape[-1]}")
    turned = [x.transpose(1, 2) if tensor_layout == "NHD" else x for x in (q, k, v)]
    out = torch.nn.functional.scaled_dot_product_attention(*turned, attn_mask=attn_mask, scale=sm_scale)
    return out.transpose(1, 2) if tensor_layout == "NHD" else out


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch, caplog):
    monkeypatch.setattr(attention, "sageattn", sageattn, raising=False)
    fallbacks._said.clear()
    caplog.set_level(logging.WARNING)


def use_sage(monkeypatch, model):
    """As --use-sage-attention does."""
    monkeypatch.setattr(attention, "optimized_attention", attention.attention_sage)
    return model


def use_flash(monkeypatch, model):
    """As --use-flash-attention does; without the package each call fails, and the host goes on."""
    monkeypatch.setattr(attention, "optimized_attention", attention.attention_flash)
    return model


def override_with_sage(_, model):
    """As other packs' nodes do for one model."""
    model = model.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = lambda _, *args, **kwargs: (
        attention.attention_sage(*args, **kwargs)
    )
    return model


SAGE = [use_sage, override_with_sage] if hasattr(attention, "wrap_attn") else [use_sage]


@pytest.mark.parametrize("use", SAGE)
@pytest.mark.parametrize("width", [40, 80, 160])
def test_sage_attention_falls_back_once_for_each_width(monkeypatch, caplog, use, width):
    """ComfyUI#7352: "Error running sage attention: Unsupported head_dim: 160" with SD 1.5, again and again."""
    model = one_level(width)
    expected, native = drawn(with_scale_fusion(model), LARGE), drawn(model, NATIVE)
    patched = with_scale_fusion(use(monkeypatch, model))
    assert torch.allclose(drawn(patched, LARGE), expected, atol=1e-4 * float(expected.abs().max()))
    said = [text for text in caplog.messages if "sage" in text]
    assert len(said) == (width == 160) and all("Unsupported head_dim: 160" in text for text in said)
    drawn(patched, LARGE)
    assert [text for text in caplog.messages if "sage" in text] == said
    # At the native size all of it is the host's own, its log too.
    assert torch.allclose(drawn(patched, NATIVE), native, atol=1e-4 * float(native.abs().max()))
    assert width != 160 or len([text for text in caplog.messages if "sage" in text]) > STEPS
    assert logging.root.filters == []


def test_flash_attention_falls_back_once(monkeypatch, caplog):
    """The same of its neighbour: "Flash Attention failed, using default SDPA", at every call."""
    model = one_level(40)
    expected = drawn(with_scale_fusion(model), LARGE)
    picture = drawn(with_scale_fusion(use_flash(monkeypatch, model)), LARGE)
    assert torch.allclose(picture, expected, atol=1e-4 * float(expected.abs().max()))
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("Flash Attention failed")


def test_other_lines_are_not_touched(caplog):
    with fallbacks.fallbacks_said_once():
        for _ in range(2):
            logging.warning("another's")
    assert caplog.messages == ["another's"] * 2
