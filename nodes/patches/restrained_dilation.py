"""RestrainedDilation: dilated convolutions while σ is high."""

import logging

from comfy_api.latest import io

from ...freescale_core.dilation import PRESETS, dilated_layers
from ...freescale_core.grammar.blocks import parse_blocks
from ..host.checks import checked
from ..host.dilation import with_restrained_dilation
from ..host.errors import bad_input, parsed, validity
from ..host.family import Transformer, family_of
from ..host.schema import advanced, where_known
from ..inputs import MODEL, NATIVE_SIZE

NAME = "FreeScale Restrained Dilation"


class RestrainedDilation(io.ComfyNode):
    """The MODEL with restrained dilated convolutions (FreeScale, section 3.2)."""

    @classmethod
    @where_known(search_aliases=["dilated convolution", "ScaleCrafter", "high resolution", "repeated objects", "duplicates"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestrainedDilation",
            display_name=NAME,
            category="FreeScale",
            description=(
                "Widens the view of the U-Net's deepest convolutions in the early steps, so that a large picture is laid out "
                "as one. Acts only above the model's native size."
            ),
            inputs=[
                MODEL,
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default=PRESETS[0],
                    tooltip=(
                        "Which convolutions: FreeScale takes the deepest down level and the middle. The others are for"
                        " comparison; custom uses the layers below."
                    ),
                ),
                advanced(
                    io.Float.Input(
                        "factor",
                        default=0.0,
                        min=0.0,
                        max=16.0,
                        step=0.25,
                        tooltip="0: from the picture's size (2 at 2×, 4 at 4×). Else this dilation.",
                    )
                ),
                io.Float.Input(
                    "end_percent",
                    default=0.7,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where in the sampling it stops: 0.7 is the paper's 35 of 50 steps. 1 = never, as for Turbo models.",
                ),
                advanced(
                    io.String.Input(
                        "layers",
                        default="down, middle",
                        tooltip="For the custom preset: all, or a list such as down, middle, up, input.6-8, output.0-2.",
                    )
                ),
                NATIVE_SIZE,
            ],
            outputs=[
                io.Model.Output(
                    display_name="MODEL", tooltip="The model with restrained dilation; wire it to the cascade or to any sampler."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, layers: str | None = None) -> bool | str:
        """Refuse a mistyped layer list when Queue is pressed."""
        return validity(NAME, "layers", layers, parse_blocks)

    @classmethod
    @checked
    def execute(cls, model, preset, factor, end_percent, layers, native_size) -> io.NodeOutput:
        if 0 < factor < 1:
            problem = "a dilation below 1 does not exist. Write 0 to take it from the picture's size, or 1 and more"
            raise bad_input(NAME, "factor", factor, problem)
        family = family_of(model, NAME)
        if isinstance(family, Transformer):
            logging.info(f"{NAME}: {type(model.model).__name__} has no convolutions to dilate; the model goes on as it is.")
            return io.NodeOutput(model)
        convolutions = family.convolutions()
        chosen = dilated_layers(convolutions, preset, parsed(NAME, "layers", layers, parse_blocks))
        if not chosen:
            raise bad_input(NAME, "layers", layers, "no 3×3 convolution lies there. Write for instance down, middle")
        return io.NodeOutput(with_restrained_dilation(model, chosen, factor, end_percent, native_size, NAME))
