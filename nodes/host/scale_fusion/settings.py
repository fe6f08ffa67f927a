"""What a Scale Fusion node asks for, whatever the model is."""

from dataclasses import dataclass

from ....freescale_core.grammar.blocks import Selection
from ..seam.calls import Call

KEY = "freescale_scale_fusion"
BRANCHES = BOTH, GLOBAL_ONLY, LOCAL_ONLY = ("both", "global only", "local only")


@dataclass(frozen=True)
class ScaleFusion:
    """The settings of one ScaleFusionAttentionPatch."""

    branches: str  # both; or one alone, which the paper's ablation has
    global_attention: str  # full, strided, or mixed: strided in the layers that cost the most
    fast: bool  # a transformer has windows alone, a U-Net blocks of queries instead of overlapping windows
    draft: bool  # a U-Net has windows only where they show most
    blur_features: bool
    jitter: bool
    seed: int
    native_size: int
    start_percent: float
    end_percent: float
    blocks: Selection
    rope_factor: float = 0.0  # of a transformer's θ in the global attention; 0 from the picture's size

    def acts(self, call: Call) -> bool:
        """Whether a call's σ is inside the range."""
        noise = call.family.noise
        return noise.sigma(self.end_percent) <= call.sigma <= noise.sigma(self.start_percent)
