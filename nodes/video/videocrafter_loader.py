"""FreeScaleVideoCrafterLoader: VideoCrafter2, on which the paper enlarges clips."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.errors import parsed
from ..host.schema import where_known
from ..host.videocrafter import checkpoints, load_checkpoint

NAME = "FreeScale VideoCrafter Loader"


class FreeScaleVideoCrafterLoader(io.ComfyNode):
    """The released checkpoint as MODEL, CLIP and VAE; ComfyUI's own loader takes it for SD 2 and drops its motion."""

    @classmethod
    @where_known(search_aliases=["VC2", "text to video", "load checkpoint", "animation", "clip"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleVideoCrafterLoader",
            display_name=NAME,
            category="FreeScale",
            description=(
                "Loads VideoCrafter2, which draws clips of 16 frames at 512 x 320 px: every picture of a batch is a frame. Load"
                " Checkpoint takes the file for SD 2 and drops its motion; this node does not."
            ),
            inputs=[
                io.Combo.Input(
                    "ckpt_name",
                    options=checkpoints(),
                    tooltip="VideoCrafter2's model.ckpt in the checkpoints folder, under any name.",
                ),
                io.Int.Input(
                    "fps",
                    default=28,
                    min=1,
                    max=120,
                    tooltip="Frames a second at which the clip is to be played. Smaller: more motion from frame to frame.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="The model; its native size is 512 x 320 px."),
                io.Clip.Output(display_name="CLIP", tooltip="Its text encoder, the one of SD 2."),
                io.Vae.Output(display_name="VAE", tooltip="Turns its latents into frames."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, ckpt_name, fps) -> io.NodeOutput:
        return io.NodeOutput(*parsed(NAME, "ckpt_name", ckpt_name, lambda name: load_checkpoint(name, fps)))
