"""Scale Fusion of a transformer: windows of its native size over joint tokens, and the whole picture (docs/transformers.md)."""

import logging
from itertools import count

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....freescale_core.grammar.blocks import parse_blocks
from ....freescale_core.joint_attention import (
    Tokens,
    block_attention,
    fused,
    lattice_attention,
    tapered_attention,
    whole_attention,
)
from ....freescale_core.rotary import RotaryAcrossHeads
from ....freescale_core.windows import draw_key, drawn_below_2_32, inner_corners, windows_of
from ..errors import WarnOnce, bad_input
from ..family import Transformer
from ..seam.calls import Call, on_enlarged
from ..seam.joint_attention import HAS_OVERRIDE, beside_other, compare_prompts, joint_attention, when_run
from .settings import BOTH, GLOBAL_ONLY, KEY, LOCAL_ONLY, ScaleFusion

MIXED_UNTIL = 500  # timestep, of "mixed": the whole picture lays out, windows alone finish
STRETCHED = (
    "a ScaleROPE node stretches the model's positions, so that windows are not the native pictures which the model knows. Remove "
    "it: Scale Fusion goes without"
)
NOT_REACHED = "no self-attention of the network comes to it, as where another pack's layers compute their own (nunchaku)"


def fuse_tokens(patched: ModelPatcher, family: Transformer, settings: ScaleFusion, node: str) -> None:
    """Let the self-attentions of a clone do Scale Fusion whenever the picture is enlarged.

    Raises ValueError, in the name of `node`, for settings that a transformer has no meaning for, and on hosts that are too old.
    """
    name = type(patched.model).__name__
    if settings.blur_features:
        raise bad_input(node, "blur_axes", "hwd", f"{name} is a transformer, whose features are not blurred. Choose hw")
    if settings.blocks != parse_blocks("all"):
        raise bad_input(node, "blocks", str(settings.blocks), f"{name} is a transformer, whose blocks all do the same. Write all")
    if not HAS_OVERRIDE:
        raise bad_input(node, "model", name, "this ComfyUI cannot change a transformer's attention. Update it to 0.3.59 or newer")
    if family.layout is None:
        logging.warning(
            f"{node}: the attention of {name} is not known to it, so Scale Fusion rests. A cascade works all the same."
        )
        return
    if settings.rope_factor and isinstance(family.layout.rotary, RotaryAcrossHeads):
        raise bad_input(node, "rope_factor", settings.rope_factor, f"the positions of {name} cannot be stretched. Leave it at 0")
    warn, reached = WarnOnce(), False

    def on_other(problem: str) -> None:
        warn(f"{node}: {problem}. Such layers keep their own attention.")

    def act(call: Call) -> Tensor:
        if not settings.acts(call):
            return call.run()
        if reason := beside_other(call):
            on_other(reason)
            return call.run()
        if _stretches(call.options.get("rope_options", {})):
            warn(f"{node}: {STRETCHED}")
        layer, runs = count(), []  # in the order of this call's layers

        def compute(tokens: Tokens) -> Tensor:
            nonlocal reached
            reached = True
            return _fuse(settings, call, next(layer), tokens)

        options = joint_attention(call, compute, on_other)
        out = call.run(options=when_run(options, lambda: runs.append(call)))
        if runs and not reached:
            on_other(NOT_REACHED)
        return out

    compare_prompts(patched, KEY)
    on_enlarged(patched, family, KEY, act, settings.native_size)


def _stretches(rope: dict) -> bool:
    """Whether the host is asked for other distances between the picture's tokens; where the picture begins does not count."""
    return any(rope.get(scale, 1.0) != 1.0 for scale in ("scale_y", "scale_x"))


def _fuse(settings: ScaleFusion, call: Call, layer: int, tokens: Tokens) -> Tensor:
    """Scale Fusion of one layer's tokens [B, heads, n, D]."""
    enlarged, (h, w) = call.enlarged, call.shape[-2:]
    key = draw_key(settings.seed, call.sigma, h, w, "layer", layer, 0)  # never the order of calls
    early = call.family.noise.timestep(call.sigma) > MIXED_UNTIL  # of σ itself, as denoise is, whatever the shift
    windows_alone = settings.fast or (settings.global_attention == "mixed" and not early)
    if settings.branches == LOCAL_ONLY or (windows_alone and settings.branches == BOTH):
        return block_attention(tokens, tuple(drawn_below_2_32(key, 2)) if settings.jitter else (0, 0))
    if settings.global_attention == "strided":
        overall = lattice_attention(tokens, enlarged.strides)
    else:
        overall = whole_attention(tokens, (enlarged.height, enlarged.width), settings.rope_factor)
    if settings.branches == GLOBAL_ONLY:
        return overall
    corners = inner_corners(windows_of(tokens.sequence.grid, tokens.native), key if settings.jitter else None)
    return fused(overall, tapered_attention(tokens, corners), tokens.sequence, enlarged.factor)
