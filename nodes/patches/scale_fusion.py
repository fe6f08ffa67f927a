"""ScaleFusionAttentionPatch: Scale Fusion in every self-attention of later stages."""

from comfy_api.latest import io

from ...freescale_core.grammar.blocks import parse_blocks
from ..host.checks import checked, when_queued
from ..host.errors import parsed, require_order
from ..host.family import family_of
from ..host.scale_fusion import BOTH, BRANCHES, ScaleFusion, with_scale_fusion
from ..host.schema import advanced, where_known
from ..inputs import MODEL, NATIVE_SIZE

NAME = "FreeScale Scale Fusion"
CUSTOM = "custom"
IDLE = "so nothing would happen"
# name → global_attention, whether windows save time (as `ScaleFusion.fast` does), and whether they come late only
PRESETS = {
    "Exact": ("full", False, False),
    "Balanced": ("mixed", False, False),
    "Fast": ("strided", True, False),
    "Draft": ("strided", True, True),
}


class ScaleFusionAttentionPatch(io.ComfyNode):
    """The MODEL with Scale Fusion (FreeScale, section 3.3)."""

    @classmethod
    @where_known(
        search_aliases=[
            "high resolution",
            "4K",
            "8K",
            "repeated objects",
            "duplicates",
            "tiled attention",
            "windowed attention",
            "高解像度",
            "高分辨率",
            "고해상도",
        ]
    )
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ScaleFusionAttentionPatch",
            display_name=NAME,
            category="FreeScale",
            description=(
                "Keeps one big picture one picture: fine detail comes from native-size windows, the layout from the whole. "
                "Acts only above the model's native size; below it nothing changes."
            ),
            inputs=[
                MODEL,
                io.Combo.Input(
                    "global_attention",
                    options=["full", "strided", "mixed"],
                    default="full",
                    tooltip=(
                        "full: exact. strided: the layout is computed on interleaved sub-grids, much faster from 4K up, slightly"
                        " different. mixed: strided only in the finest layers, which cost the most."
                    ),
                ),
                advanced(
                    io.Combo.Input(
                        "blur_axes",
                        options=["hw", "hwd"],
                        default="hw",
                        tooltip=(
                            "How layout and detail are separated. hw: over the picture, as the paper says. hwd: over the features"
                            " too, as the authors' current code does."
                        ),
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "jitter", default=True, tooltip="Move the windows a little at every step, so that no seam can build up."
                    )
                ),
                advanced(
                    io.Int.Input(
                        "seed",
                        default=0,
                        min=0,
                        max=0xFFFFFFFFFFFFFFFF,
                        control_after_generate=False,
                        tooltip="Seed of the jitter. The same seed gives the same picture, bit for bit.",
                    )
                ),
                NATIVE_SIZE,
                advanced(
                    io.Float.Input(
                        "start_percent",
                        default=0.0,
                        min=0.0,
                        max=1.0,
                        step=0.01,
                        tooltip="Where in the sampling it begins to act: 0 = from the start.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "end_percent",
                        default=1.0,
                        min=0.0,
                        max=1.0,
                        step=0.01,
                        tooltip="Where in the sampling it stops acting: 1 = at the end.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "blocks",
                        default="all",
                        tooltip="Which U-Net blocks take part: all, or a list such as down, middle, up, input.4-8, output.0-2.",
                    )
                ),
                io.Combo.Input(
                    "preset",
                    options=[CUSTOM, *PRESETS],
                    default=CUSTOM,
                    optional=True,
                    tooltip=(
                        "From exact to fast: Exact, Balanced (layout strided in the finest layers), Fast (everywhere), Draft (and"
                        " windows only late and in the up blocks), each instead of global_attention. custom: as global_attention"
                        " says."
                    ),
                ),
                advanced(
                    io.Combo.Input(
                        "branches",
                        options=list(BRANCHES),
                        default=BOTH,
                        optional=True,
                        tooltip=(
                            "both is Scale Fusion. global only and local only leave one of its two attentions out, to compare"
                            " with."
                        ),
                    )
                ),
                advanced(
                    io.Float.Input(
                        "rope_factor",
                        default=0.0,
                        min=0.0,
                        max=100.0,
                        step=0.5,
                        optional=True,
                        tooltip=(
                            "Transformers only: how far the whole picture's positions are stretched. 0: from the picture's size."
                            " 10 is what others use for FLUX."
                        ),
                    )
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="MODEL", tooltip="The model with Scale Fusion; wire it to the cascade or to any sampler."
                )
            ],
        )

    @classmethod
    @when_queued
    def validate_inputs(cls, blocks=None, start_percent=None, end_percent=None) -> None:
        """Refuse a mistyped block list, and an end before the start, when Queue is pressed."""
        if blocks is not None:
            parsed(NAME, "blocks", blocks, parse_blocks)
        if start_percent is not None and end_percent is not None:
            require_order(NAME, "start_percent", start_percent, end_percent, IDLE)

    @classmethod
    @checked
    def execute(
        cls,
        model,
        global_attention,
        blur_axes,
        jitter,
        seed,
        native_size,
        start_percent,
        end_percent,
        blocks,
        preset=CUSTOM,
        branches=BOTH,
        rope_factor=0.0,
    ) -> io.NodeOutput:
        family_of(model, NAME)
        require_order(NAME, "start_percent", start_percent, end_percent, IDLE)
        global_attention, fast, draft = PRESETS.get(preset, (global_attention, False, False))
        settings = ScaleFusion(
            branches=branches,
            global_attention=global_attention,
            fast=fast,
            draft=draft,
            blur_features=blur_axes == "hwd",
            jitter=jitter,
            seed=seed,
            native_size=native_size,
            start_percent=start_percent,
            end_percent=end_percent,
            blocks=parsed(NAME, "blocks", blocks, parse_blocks),
            rope_factor=rope_factor,
        )
        return io.NodeOutput(with_scale_fusion(model, settings, NAME))
