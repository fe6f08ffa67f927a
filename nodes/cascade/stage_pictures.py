"""FreeScaleStagePictures: what SelfCascadeUpscale expands into, at its end."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.schema import where_known
from ..host.types import StagePictures


class FreeScaleStagePictures(io.ComfyNode):
    """Hands the stages' pictures out as one value, a list: were it declared one, each would take an output of the cascade."""

    @classmethod
    @where_known(is_dev_only=True)
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleStagePictures",
            display_name="FreeScale Stage Pictures (internal)",
            category="FreeScale/internal",
            description="The pictures of a FreeScale Cascade's stages. Use FreeScale Cascade instead.",
            inputs=[StagePictures.Input("pictures", tooltip="The pictures of all stages.")],
            outputs=[io.Image.Output("stages", display_name="IMAGE", tooltip="The same as a list, smallest first.")],
        )

    @classmethod
    @checked
    def execute(cls, pictures) -> io.NodeOutput:
        return io.NodeOutput(list(pictures))
