"""FreeScaleRivalHiDiffusion: HiDiffusion, to compare with."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.rivals.hidiffusion import with_hidiffusion
from ..host.schema import where_known
from ..inputs import NATIVE_SIZE
from .inputs import MODEL, PATCHED, SEED

NAME = "FreeScale Rival HiDiffusion"


class FreeScaleRivalHiDiffusion(io.ComfyNode):
    """The MODEL with a resolution-aware U-Net and windowed attention (arXiv 2311.17528)."""

    @classmethod
    @where_known(search_aliases=["RAU-Net", "MSW-MSA", "high resolution", "compare methods", "baseline"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleRivalHiDiffusion",
            display_name=NAME,
            category="FreeScale/rivals",
            description=(
                "HiDiffusion, to compare FreeScale with: features are shrunk in the first steps, and the finest self-attention"
                " looks at a quarter of the picture. Sample directly at the large size; it acts only above the model's native"
                " size."
            ),
            inputs=[MODEL, SEED, NATIVE_SIZE],
            outputs=[PATCHED],
        )

    @classmethod
    @checked
    def execute(cls, model, seed, native_size) -> io.NodeOutput:
        return io.NodeOutput(with_hidiffusion(model, seed, native_size, NAME))
