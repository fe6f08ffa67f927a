"""FouriScale on a MODEL: filtered, dilated convolutions, and a second, weaker prediction of what is prompted.

Guidance is u + g (weak − u). So in each call the prompted rows run twice, strong and weak, and the weak ones are what the
call answers with; ComfyUI's own guidance does the rest, and other nodes that change it still can. Which rows are prompted
is told by the guider: the place in a call differs between guiders.
"""

from functools import partial

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....freescale_core.rivals.fouriscale import REACH, Guided, dilation_at
from ....freescale_core.schedule import PAPER_STEPS
from ..family import unet_of
from ..seam.attention import with_patch
from ..seam.calls import Call, on_enlarged
from ..seam.convolution import computed_as
from .levels import unet_levels
from .rows import map_rows, require_own_rows

KEY = "freescale_rival_fouriscale"
PROMPTS = "freescale_fouriscale_prompts"  # in transformer_options: the ids of the positive prompts


def with_fouriscale(model: ModelPatcher, full_percent: float, end_percent: float, native_size: int, node: str) -> ModelPatcher:
    """A clone of `model` with FouriScale: fully dilated until `full_percent`, then less and less until `end_percent`."""
    family = unet_of(model, node)
    levels, count = unet_levels(family, node)
    reach = REACH[count]
    layers = [
        layer
        for level in reach.filtered
        for layer in levels.get(level, ())
        if not (layer.kind == "upsampler" and level in reach.no_upsampler)
    ]

    def around_prediction(executor, x, timestep, model_options=None, *args, **kwargs):
        model_options = model_options or {}
        prompts = frozenset(cond["uuid"] for cond in executor.class_obj.conds.get("positive") or ())
        options = {**model_options.get("transformer_options", {}), PROMPTS: prompts}
        return executor(x, timestep, {**model_options, "transformer_options": options}, *args, **kwargs)

    def guide(call: Call) -> Tensor:
        x, step, enlarged, options = call.x, call.family.noise.step(call.sigma), call.enlarged, call.options
        if step >= PAPER_STEPS * end_percent:
            return call.run()
        require_own_rows(options, node)
        prompted = [uuid in options.get(PROMPTS, ()) for uuid in options.get("uuids", ())]
        strong = _prompted_rows(prompted, len(x)).to(x.device)
        rows = torch.cat([torch.arange(len(x), device=x.device), strong])
        d = dilation_at(enlarged.factor, step, PAPER_STEPS * full_percent, PAPER_STEPS * end_percent)
        multiple = (enlarged.factor / enlarged.height, enlarged.factor / enlarged.width)
        convolves = {layer: Guided(d, len(x), reach, layer.kind != "upsampler", multiple) for layer in layers}
        names = ("x", "t", "c_concat", "c_crossattn", "control", "conditions")
        longer = {name: map_rows(getattr(call, name), len(x), lambda z: z[rows.to(z.device)]) for name in names}
        with computed_as(call.family, convolves, node):
            out = call.run(**longer, options=_guided_options(options, len(x), strong, prompted))
        answer = out[: len(x)].clone()
        answer[strong] = out[len(x) :]
        return answer

    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, around_prediction)
    on_enlarged(patched, family, KEY, guide, native_size)
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
