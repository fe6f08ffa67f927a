"""FreeScaleRivalScaleCrafter: ScaleCrafter, to compare with."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.rivals.scalecrafter import with_scalecrafter
from ..host.schema import where_known
from ..inputs import NATIVE_SIZE
from .inputs import MODEL, PATCHED

NAME = "FreeScale Rival ScaleCrafter"


class FreeScaleRivalScaleCrafter(io.ComfyNode):
    """The MODEL with re-dilated convolutions and noise-damped guidance (arXiv 2310.07702)."""

    @classmethod
    @where_known(search_aliases=["dilated convolution", "high resolution", "compare methods", "baseline"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleRivalScaleCrafter",
            display_name=NAME,
            category="FreeScale/rivals",
            description=(
                "ScaleCrafter, to compare FreeScale with: dilated convolutions in many blocks, chosen by the picture's size. "
                "Sample directly at the large size; it acts only above the model's native size."
            ),
            inputs=[
                MODEL,
                io.Boolean.Input(
                    "noise_damping",
                    default=True,
                    tooltip=(
                        "Around 4×, take the unprompted part of the guidance from a less dilated model: one model call more in a"
                        " step, fewer artefacts. Smaller pictures do without, as in the paper."
                    ),
                ),
                NATIVE_SIZE,
            ],
            outputs=[PATCHED],
        )

    @classmethod
    @checked
    def execute(cls, model, noise_damping, native_size) -> io.NodeOutput:
        return io.NodeOutput(with_scalecrafter(model, noise_damping, native_size, NAME))
