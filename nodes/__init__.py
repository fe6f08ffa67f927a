"""One node per file; `host` is what they use of ComfyUI."""

from .blend_sampler import FreeScaleBlendSampler
from .caption import FreeScaleCaption
from .cascade_stage import FreeScaleCascadeStage, FreeScaleStagePictures
from .compare import FreeScaleCompare
from .demo_model import FreeScaleDemoModel
from .grid import FreeScaleGrid
from .region_detail_mask import RegionDetailMask
from .restrained_dilation import RestrainedDilation
from .rival_demofusion import FreeScaleRivalDemoFusion
from .rival_fouriscale import FreeScaleRivalFouriScale
from .rival_hidiffusion import FreeScaleRivalHiDiffusion
from .rival_scalecrafter import FreeScaleRivalScaleCrafter
from .scale_fusion_attention_patch import ScaleFusionAttentionPatch
from .self_cascade_upscale import SelfCascadeUpscale
from .timer import FreeScaleTimer

NODES = [
    ScaleFusionAttentionPatch,
    RestrainedDilation,
    SelfCascadeUpscale,
    RegionDetailMask,
    FreeScaleBlendSampler,
    FreeScaleDemoModel,
    FreeScaleRivalScaleCrafter,
    FreeScaleRivalDemoFusion,
    FreeScaleRivalFouriScale,
    FreeScaleRivalHiDiffusion,
    FreeScaleTimer,
    FreeScaleCaption,
    FreeScaleGrid,
    FreeScaleCompare,
    FreeScaleCascadeStage,
    FreeScaleStagePictures,
]
