"""FreeScaleRivalFouriScale: FouriScale, to compare with."""

from comfy_api.latest import io

from ..host.checks import checked, when_queued
from ..host.errors import require_order
from ..host.family import unet_of
from ..host.rivals.fouriscale import with_fouriscale
from ..host.schema import where_known
from ..inputs import NATIVE_SIZE
from .inputs import MODEL, PATCHED

NAME = "FreeScale Rival FouriScale"
STOPPED = "where the method stops"


class FreeScaleRivalFouriScale(io.ComfyNode):
    """The MODEL with low-passed, dilated convolutions and three-branch guidance (arXiv 2403.12963)."""

    @classmethod
    @where_known(search_aliases=["low-pass", "frequency", "high resolution", "compare methods", "baseline"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleRivalFouriScale",
            display_name=NAME,
            category="FreeScale/rivals",
            description=(
                "FouriScale, to compare FreeScale with: dilated convolutions behind a low-pass filter, guided by a more weakly "
                "filtered prediction. Sample directly at the large size; it acts only above the model's native size."
            ),
            inputs=[
                MODEL,
                io.Float.Input(
                    "full_percent",
                    default=0.4,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip=(
                        "Until here the dilation is the picture's enlargement; then it falls. 0.4 is the paper's 20 of 50 steps."
                    ),
                ),
                io.Float.Input(
                    "end_percent",
                    default=0.7,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where in the sampling it stops: 0.7 is the paper's 35 of 50 steps.",
                ),
                NATIVE_SIZE,
            ],
            outputs=[PATCHED],
        )

    @classmethod
    @when_queued
    def validate_inputs(cls, full_percent=None, end_percent=None) -> None:
        """Refuse an end before the full effect's when Queue is pressed."""
        if full_percent is not None and end_percent is not None:
            require_order(NAME, "full_percent", full_percent, end_percent, STOPPED)

    @classmethod
    @checked
    def execute(cls, model, full_percent, end_percent, native_size) -> io.NodeOutput:
        unet_of(model, NAME)
        require_order(NAME, "full_percent", full_percent, end_percent, STOPPED)
        return io.NodeOutput(with_fouriscale(model, full_percent, end_percent, native_size, NAME))
