"""FouriScale on a MODEL: filtered, dilated convolutions, and a second, weaker prediction of what is prompted.

Guidance is u + g (weak − u). So in each call the prompted rows run twice, strong and weak, and the weak ones are what the
call answers with; ComfyUI's own guidance does the rest, and other nodes that change it still can. Which rows are prompted
is told by the guider: the place in a call differs between guiders.
"""

from functools import partial

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...freescale_core.dilation import Layer
from ...freescale_core.fouriscale import REACH, Guided, dilation_at
from ...freescale_core.schedule import PAPER_STEPS
from .attention import with_patch
from .convolution import computed_as, patch_convolutions
from .model import (
    convolution_levels,
    convolutions,
    each_row,
    latent_enlargement,
    remember_native_size,
    require_own_rows,
    running_step,
)

KEY = "freescale_rival_fouriscale"
PROMPTS = "freescale_fouriscale_prompts"  # in transformer_options: the ids of the positive prompts


def with_fouriscale(model: ModelPatcher, full_percent: float, end_percent: float, native_size: int, node: str) -> ModelPatcher:
    """A clone of `model` with FouriScale: fully dilated until `full_percent`, then less and less until `end_percent`."""
    patched = model.clone()
    remember_native_size(patched, native_size)
    (levels, count), strides = convolution_levels(model, node), convolutions(model)
    reach = REACH[count]
    upsampler = {name: Layer(name).kind == "upsampler" for name in strides}
    names = [
        name
        for level in reach.filtered
        for name in levels.get(level, ())
        if not (upsampler[name] and level in reach.no_upsampler)
    ]

    def around_prediction(executor, x, timestep, model_options=None, *args, **kwargs):
        options = model_options or {}
        prompts = frozenset(cond["uuid"] for cond in executor.class_obj.conds.get("positive") or ())
        told = {**options, "transformer_options": {**options.get("transformer_options", {}), PROMPTS: prompts}}
        return executor(x, timestep, told, *args, **kwargs)

    def around_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        base, options = executor.class_obj, transformer_options or {}
        size = latent_enlargement(base, native_size, *x.shape[-2:])
        step = running_step(base, float(t.flatten()[0]))
        if size is None or step >= PAPER_STEPS * end_percent:
            return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
        require_own_rows(options, node)
        prompted = [uuid in options.get(PROMPTS, ()) for uuid in options.get("uuids", ())]
        strong = _prompted_rows(prompted, len(x)).to(x.device)
        rows = torch.cat([torch.arange(len(x), device=x.device), strong])
        d = dilation_at(size.factor, step, PAPER_STEPS * full_percent, PAPER_STEPS * end_percent)
        multiple = (size.factor / size.height, size.factor / size.width)
        convolves = {name: Guided(d, len(x), reach, not upsampler[name], multiple) for name in names}
        given = (x, t, c_concat, c_crossattn, control, kwargs)
        *inputs, more = (each_row(value, len(x), lambda z: z[rows.to(z.device)]) for value in given)
        with computed_as(convolves):
            out = executor(*inputs, _guided_options(options, len(x), strong, prompted), **more)
        answer = out[: len(x)].clone()
        answer[strong] = out[len(x) :]
        return answer

    patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, around_prediction)
    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, around_model)
    patch_convolutions(patched, {name: strides[name] for name in names}, node)
    return patched


def _prompted_rows(prompted: list[bool], batch: int) -> torch.Tensor:
    """Numbers of the rows that have the prompt: the batch is one chunk for each entry."""
    return torch.tensor(prompted, dtype=torch.bool).repeat_interleave(batch // max(1, len(prompted))).nonzero().flatten()


def _guided_options(options: dict, batch: int, strong: torch.Tensor, prompted: list[bool]) -> dict:
    """The U-Net's options for a batch with weak rows at its end, whose self-attention looks where the strong rows' does."""
    longer = {
        name: [*options[name], *(entry for entry, weak_too in zip(options[name], prompted) if weak_too)]
        for name in ("cond_or_uncond", "uuids")
        if name in options
    }
    return with_patch({**options, **longer}, "attn1_patch", partial(_attend_as_strong, batch, strong))


def _attend_as_strong(batch: int, strong: torch.Tensor, n, context, value, extra_options, **kwargs):
    """Before the projections: the weak rows' queries and keys come from the strong rows' tokens, their values stay."""

    def tied(tokens):
        tokens = tokens.clone()
        picture = tokens.unflatten(0, (batch + len(strong), -1))  # another node may have cut each picture into tiles
        picture[batch:] = picture[strong]
        return tokens

    return tied(n), tied(context), value
