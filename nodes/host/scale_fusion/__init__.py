"""Scale Fusion on a MODEL (P §3.3)."""

from comfy.model_patcher import ModelPatcher

from ..family import Transformer, family_of
from .settings import BOTH, BRANCHES, GLOBAL_ONLY, LOCAL_ONLY, ScaleFusion
from .transformer import fuse_tokens
from .unet import fuse_layers

__all__ = ["BOTH", "BRANCHES", "GLOBAL_ONLY", "LOCAL_ONLY", "ScaleFusion", "with_scale_fusion"]


def with_scale_fusion(model: ModelPatcher, settings: ScaleFusion, node: str) -> ModelPatcher:
    """A clone of `model` whose self-attentions do Scale Fusion whenever the picture is enlarged.

    Raises ValueError, in the name of `node`, where that is not defined for the model, or not with these settings.
    """
    family, patched = family_of(model, node), model.clone()
    if isinstance(family, Transformer):
        fuse_tokens(patched, family, settings, node)
    else:
        fuse_layers(patched, family, settings, node)
    return patched
