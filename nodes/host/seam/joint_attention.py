"""Attention over text and picture that is computed otherwise for the length of a call, on top of another pack's override."""

from collections.abc import Callable
from functools import partial
from math import ceil, prod
from typing import cast

import torch
from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from einops import rearrange
from torch import Tensor

from ....freescale_core.joint_attention import Tokens
from ..family import Transformer
from .calls import Call

OVERRIDE = "optimized_attention_override"
BEFORE = "freescale_before"  # of an override of ours: what it is on top of
RUNS, BESIDE = "freescale_runs", "freescale_beside"  # keys in transformer_options
OF_REFERENCES = "its attention has other tokens than the picture and the prompt, as reference pictures and guides bring them"
OF_PAIRS = "another node limits which part of the picture sees which, by a mask over all pairs of tokens"
HAS_OVERRIDE = hasattr(attention, "wrap_attn")  # hosts since 0.3.59


def joint_attention(call: Call, compute: Callable[[Tokens], Tensor], on_other: Callable[[str], None]) -> dict:
    """A copy of a call's transformer_options in which the self-attentions over the picture are `compute(tokens)`.

    Each of its parts is attended to by the override that was there before, or else by the host. What has other tokens than
    the picture and the text of the call keeps its attention, and `on_other` is told why.
    """
    family, before = cast(Transformer, call.family), call.options.get(OVERRIDE)
    before = getattr(before, BEFORE, before)  # a second node of ours takes the place of the first
    text = 0 if call.c_crossattn is None else call.c_crossattn.shape[1]
    rows, columns = (max(1, ceil(side / family.side_step)) for side in call.enlarged.native)

    @torch.compiler.disable  # its windows are drawn anew at every step
    def override(func, q, k, v, heads, mask=None, attn_precision=None, skip_reshape=False, skip_output_reshape=False, **kwargs):
        host = partial(before, func) if before else func

        def unchanged() -> Tensor:
            own = {"skip_reshape": skip_reshape, "skip_output_reshape": skip_output_reshape, **kwargs}
            return host(q, k, v, heads, mask=mask, attn_precision=attn_precision, **own)

        length, layout = k.shape[-2], family.layout
        if layout and layout.channels not in (None, q.shape[-1] * (heads if skip_reshape else 1)):
            return unchanged()  # the sound's
        if q.shape[-2] != length:  # over the text or the first frame, where positions do not count
            if q.shape[-2] < length != text:
                on_other(OF_PAIRS)  # LTX's guides of some strength: those that see otherwise are asked on their own
            return unchanged()
        sequence = family.sequence(call.shape, text, length)
        if sequence is None or layout is None:
            if length >= prod(ceil(side / family.patch) for side in call.shape[-2:]):
                on_other(OF_REFERENCES)
            return unchanged()
        key_mask = _of_keys(mask, len(q), length)
        if mask is not None and key_mask is None:
            on_other(OF_PAIRS)
            return unchanged()

        def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
            out = host(q, k, v, heads, mask=mask, attn_precision=attn_precision, skip_reshape=True, **kwargs)
            return rearrange(out, "b n (e d) -> b e n d", e=heads)

        if not skip_reshape:
            q, k, v = (rearrange(x, "b n (e d) -> b e n d", e=heads) for x in (q, k, v))
        size = (min(rows, sequence.grid[0]), min(columns, sequence.grid[1]))
        padding = -prod(size) % layout.multiple
        out = compute(Tokens(q, k, v, key_mask, sequence, layout.rotary, size, padding, attend))
        return out if skip_output_reshape else rearrange(out, "b e n d -> b n (e d)")

    setattr(override, BEFORE, before)
    return {**call.options, OVERRIDE: override}


def when_run(options: dict, note: Callable[[], None]) -> dict:
    """A copy of transformer_options by which a network says that it runs, as it does not where another pack keeps its answers."""
    wrappers = options.get("wrappers", {})

    def innermost(executor, *args, **kwargs):
        note()
        return executor(*args, **kwargs)

    around = {**wrappers.get(WrappersMP.DIFFUSION_MODEL, {}), RUNS: [innermost]}
    return {**options, "wrappers": {**wrappers, WrappersMP.DIFFUSION_MODEL: around}}


def compare_prompts(patched: ModelPatcher, key: str) -> None:
    """Let the calls of a step know whether some of its prompts bring what keeps attention as it is, and others do not.

    Guidance subtracts the answer for one prompt from the other's, so that all are to be computed alike: see `beside_other`.
    """

    def around_prompts(executor, model, prompts, x, timestep, model_options, **kwargs):
        reasons = {_reason(part) for prompt in prompts if prompt for part in prompt}
        if len(reasons) > 1:
            options = {**model_options.get("transformer_options", {}), BESIDE: max(reasons)}
            model_options = {**model_options, "transformer_options": options}
        return executor(model, prompts, x, timestep, model_options, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, key, around_prompts)


def beside_other(call: Call) -> str:
    """Why a call keeps its attention for another prompt's sake; empty where it need not."""
    return call.options.get(BESIDE, "")


def _reason(prompt: dict) -> str:
    """Why the attention of a part of a prompt is kept, as the host's samplers hold it; empty where it is not."""
    if "ref_latents" in prompt.get("model_conds", {}):
        return OF_REFERENCES
    return OF_PAIRS if "attention_mask_img_shape" in prompt else ""  # StyleModelApply's


def _of_keys(mask: Tensor | None, batch: int, length: int) -> Tensor | None:
    """A mask of keys as [B, 1 or heads, 1, n]; None where there is none, or where it is one of pairs."""
    if mask is None or mask.shape[-1] != length:
        return None
    if mask.ndim == 2 and len(mask) in (1, batch):
        mask = mask[:, None, None]
    if mask.ndim == 3:
        mask = mask[:, None]
    return mask.expand(batch, *mask.shape[1:]) if mask.ndim == 4 and mask.shape[-2] == 1 and len(mask) in (1, batch) else None
