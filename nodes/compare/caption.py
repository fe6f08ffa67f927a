"""FreeScaleCaption: a line of text above a picture."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.schema import where_known
from ..host.types import SamplingTime
from .contact_sheet import captioned


class FreeScaleCaption(io.ComfyNode):
    """The picture with a name and the time it took."""

    @classmethod
    @where_known(search_aliases=["text on image", "label", "title", "annotate"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleCaption",
            display_name="FreeScale Caption",
            category="FreeScale/compare",
            description="Writes a name, and how long the sampling took, above a picture.",
            inputs=[
                io.Image.Input("image", tooltip="The picture, or a batch of them."),
                io.String.Input("label", default="FreeScale", tooltip="What to write, in Latin letters: the font has no others."),
                SamplingTime.Input(
                    "time", optional=True, tooltip="From a FreeScale Timer: the seconds of sampling are written behind the label."
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="For FreeScale Grid.")],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    @checked
    def execute(cls, image, label, time=None) -> io.NodeOutput:
        seconds = time and time.seconds(getattr(cls.hidden, "prompt", None))
        return io.NodeOutput(captioned(image, f"{label} · {seconds:.1f} s" if seconds else label))
