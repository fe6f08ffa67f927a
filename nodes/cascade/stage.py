"""FreeScaleCascadeStage: what SelfCascadeUpscale expands into, a node for each stage."""

from comfy_api.latest import io

from ...freescale_core.geometry import LARGEST_SIDE
from ...freescale_core.grammar.stages import SIDE_STEP
from ..host.checks import checked
from ..host.progress import stage_display
from ..host.schema import where_known
from ..host.stage.plan import Stage, require_source
from ..host.stage.run import run_stage
from ..host.types import StagePictures
from .inputs import SETTINGS, SOURCES

NAME = "FreeScale Cascade"


class FreeScaleCascadeStage(io.ComfyNode):
    """One stage (FreeScale, section 3.1). The cascade makes it; nobody wires it by hand."""

    @classmethod
    @where_known(is_dev_only=True)
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleCascadeStage",
            display_name="FreeScale Cascade Stage (internal)",
            category="FreeScale/internal",
            description="One stage of a FreeScale Cascade. Use FreeScale Cascade instead.",
            inputs=[
                *SOURCES,
                StagePictures.Input("pictures", optional=True, tooltip="The pictures of the stages before."),
                io.Int.Input("height", min=SIDE_STEP, max=LARGEST_SIDE, step=SIDE_STEP, tooltip="Height of this stage in px."),
                io.Int.Input("width", min=SIDE_STEP, max=LARGEST_SIDE, step=SIDE_STEP, tooltip="Width of this stage in px."),
                *SETTINGS,
            ],
            outputs=[
                io.Image.Output("picture", display_name="IMAGE", tooltip="This stage's picture."),
                io.Latent.Output("latent", display_name="LATENT", tooltip="This stage's latent."),
                StagePictures.Output(
                    "all_pictures", display_name="pictures", tooltip="The pictures of the stages before, and this one."
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )

    @classmethod
    @checked
    def execute(
        cls,
        model,
        positive,
        negative,
        vae,
        height,
        width,
        latent_image=None,
        image=None,
        pictures=(),
        color_fix=False,
        **settings,
    ) -> io.NodeOutput:
        if not pictures:  # the first stage; later ones have both, the latent and its picture
            require_source(NAME, model, vae, latent_image, image)
        stage = Stage(height=height, width=width, color_fix=color_fix, **settings)
        show = stage_display(cls.hidden, width, height)
        picture, latent = run_stage(NAME, model, positive, negative, vae, stage, latent_image, image, show)
        return io.NodeOutput(picture, latent, (*pictures, picture))
