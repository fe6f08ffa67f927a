"""One node per file, in folders by what people do with them; `host` is what they use of ComfyUI."""

from .cascade.blend_sampler import FreeScaleBlendSampler
from .cascade.cascade import SelfCascadeUpscale
from .cascade.stage import FreeScaleCascadeStage
from .cascade.stage_pictures import FreeScaleStagePictures
from .compare.caption import FreeScaleCaption
from .compare.compare import FreeScaleCompare
from .compare.grid import FreeScaleGrid
from .compare.timer import FreeScaleTimer
from .demo.demo_model import FreeScaleDemoModel
from .patches.restrained_dilation import RestrainedDilation
from .patches.scale_fusion import ScaleFusionAttentionPatch
from .region.region_detail import RegionDetailMask
from .rivals.demofusion import FreeScaleRivalDemoFusion
from .rivals.fouriscale import FreeScaleRivalFouriScale
from .rivals.hidiffusion import FreeScaleRivalHiDiffusion
from .rivals.scalecrafter import FreeScaleRivalScaleCrafter
from .video.videocrafter_loader import FreeScaleVideoCrafterLoader

NODES = [
    ScaleFusionAttentionPatch,
    RestrainedDilation,
    SelfCascadeUpscale,
    RegionDetailMask,
    FreeScaleBlendSampler,
    FreeScaleDemoModel,
    FreeScaleVideoCrafterLoader,
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
