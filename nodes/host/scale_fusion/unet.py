"""Scale Fusion of a U-Net (P §3.3): its self-attentions, while a call is enlarged and inside the sigma range."""

from functools import partial
from math import prod

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....freescale_core.attention import Attend, block_attention, global_attention, local_attention, scale_fusion
from ....freescale_core.blur import fold_feature_blur
from ....freescale_core.geometry import Enlargement
from ....freescale_core.windows import draw_key, drawn_below_2_32, fixed_views, jittered_views, window_plan
from ..errors import WarnOnce, bad_input
from ..family import AttentionLayer, Family, Grid
from ..seam.attention import replaced_attention, replaced_by_others, with_patch
from ..seam.calls import Call, on_enlarged
from ..seam.feed_forward import chunk_feed_forwards
from .settings import GLOBAL_ONLY, KEY, LOCAL_ONLY, ScaleFusion

FINE = 4  # latent cells per token, at most, of the layers that "mixed" strides: of SDXL the 10 at half the latent's size
# Draft's windows: measured on the demo model, the down and middle blocks and the first steps change the picture least.
DRAFT_SECTION, DRAFT_START_PERCENT = "output", 0.55
BLOCKS_ABOVE = 2.0  # times the native size: up to there they save a twentieth of a call, and move the picture twice as far


def fuse_layers(patched: ModelPatcher, family: Family, settings: ScaleFusion, node: str) -> None:
    """Let the chosen self-attentions of a clone do Scale Fusion whenever the picture is enlarged.

    Raises ValueError, in the name of `node`, where the chosen blocks have no self-attention.
    """
    every_layer = family.attention_layers()
    layers = [layer for layer in every_layer if settings.blocks.contains(*layer[:2])]
    if not layers:
        blocks = ("middle" if section == "middle" else f"{section}.{block}" for section, block, _ in every_layer)
        problem = f"none of them has self-attention. This model has it in {', '.join(dict.fromkeys(blocks))}"
        raise bad_input(node, "blocks", str(settings.blocks), problem)
    on_other_tokens = partial(_on_other_tokens, WarnOnce())

    def fused(call: Call) -> Tensor:
        if not settings.acts(call):
            return call.run()
        late = call.sigma <= call.family.noise.sigma(DRAFT_START_PERCENT)
        h, w = call.x.shape[-2:]
        others = replaced_by_others(call.options)
        compute = partial(_fuse, settings, call.enlarged, (settings.seed, call.sigma, h, w), late, others)
        options = replaced_attention(call.options, call.family, layers, compute, on_other_tokens)
        # First, because the patches of others expect the batch they know.
        fold = partial(_fold, call.enlarged, frozenset(layers))
        return call.run(options=with_patch(options, "attn1_output_patch", fold, first=True))

    on_enlarged(patched, family, KEY, fused, settings.native_size)
    chunk_feed_forwards(patched, family, settings.native_size)


def _fuse(
    settings: ScaleFusion,
    enlarged: Enlargement,
    draw: tuple[int, float, int, int],  # seed, σ, h, w of the latent
    late: bool,
    others: frozenset[tuple],  # layers, or blocks, whose attention is another pack's
    layer: AttentionLayer,
    attend: Attend,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: Grid,
) -> Tensor:
    """Scale Fusion of one layer's projected tokens; with the feature blur, [global, fused] stacked on the batch."""
    fine = prod(grid) * FINE >= prod(draw[-2:])
    strided = settings.global_attention == "strided" or (settings.global_attention == "mixed" and fine)
    strides = enlarged.strides if strided else None
    if settings.branches == GLOBAL_ONLY or (settings.draft and not (late and layer[0] == DRAFT_SECTION)):
        return global_attention(q, k, v, grid, attend, strides)
    plan = window_plan(*grid, enlarged.ratio)
    key = draw_key(*draw, *layer)
    # Another pack's attention may ask for as many queries as keys, as PAG's does.
    if settings.fast and enlarged.ratio > BLOCKS_ABOVE and others.isdisjoint((layer, layer[:2])):
        down, across = drawn_below_2_32(key, 2).tolist() if settings.jitter else (0, 0)
        local = partial(block_attention, plan=plan, shift=(down, across))
    else:
        views = jittered_views(plan, key) if settings.jitter else fixed_views(plan)
        local = partial(local_attention, plan=plan, views=views)
    if settings.branches == LOCAL_ONLY:
        return local(q, k, v, attend=attend)
    overall, fused = scale_fusion(q, k, v, grid, local, enlarged.factor, attend, strides)
    return torch.cat([overall, fused]) if settings.blur_features else fused


@torch.compiler.disable
def _fold(enlarged: Enlargement, layers: frozenset, n: Tensor, extra_options: dict, **kwargs) -> Tensor:
    """After to_out: fold a stacked [global, fused] batch of one of these layers back into one."""
    batch, _, h, w = extra_options["activations_shape"]
    ours = (*extra_options["block"], extra_options["block_index"]) in layers
    if not ours or tuple(n.shape[:2]) != (2 * batch, h * w):  # a layer left alone, perhaps in tiles of its own
        return n
    plain, fused = n.chunk(2)
    return fold_feature_blur(plain, fused, enlarged.factor)


def _on_other_tokens(warn: WarnOnce, layer: AttentionLayer) -> None:
    """Tiled, merged or temporal ones."""
    section, block, _ = layer
    warn(
        f"FreeScale Scale Fusion: attention in {section}.{block} (and perhaps elsewhere) gets tokens that are not the picture's "
        "grid, as HyperTile, ToMe and MSW-MSA make them. Such layers keep their own attention; remove the other node to have "
        "Scale Fusion everywhere."
    )
