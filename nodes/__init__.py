"""One node per file; `host` is what they use of ComfyUI."""

from .blend_sampler import FreeScaleBlendSampler
from .cascade_stage import FreeScaleCascadeStage, FreeScaleStagePictures
from .demo_model import FreeScaleDemoModel
from .region_detail_mask import RegionDetailMask
from .restrained_dilation import RestrainedDilation
from .scale_fusion_attention_patch import ScaleFusionAttentionPatch
from .self_cascade_upscale import SelfCascadeUpscale

NODES = [
    ScaleFusionAttentionPatch,
    RestrainedDilation,
    SelfCascadeUpscale,
    RegionDetailMask,
    FreeScaleBlendSampler,
    FreeScaleDemoModel,
    FreeScaleCascadeStage,
    FreeScaleStagePictures,
]
