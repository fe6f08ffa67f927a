"""FreeScaleCompare: two pictures, zoomed as one in the editor."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.pictures import previews
from ..host.schema import where_known


class FreeScaleCompare(io.ComfyNode):
    """Gives js/compare.js what it shows; the keys are not `images`, which the client would show once more by itself."""

    @classmethod
    @where_known(search_aliases=["image comparer", "before after", "slider", "side by side", "A/B", "zoom", "difference"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleCompare",
            display_name="FreeScale Compare",
            category="FreeScale/compare",
            description=(
                "Shows two pictures side by side or under a slider, zoomed and moved as one, whatever their sizes: a 1K picture"
                " and its 4K result, or two methods."
            ),
            inputs=[
                io.Image.Input(
                    "image_a", tooltip="The picture on the left. Of a batch each one is compared with its like in image_b."
                ),
                io.Image.Input(
                    "image_b", tooltip="The picture on the right. It may have another size; both are fitted to the same frame."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    @checked
    def execute(cls, image_a, image_b) -> io.NodeOutput:
        return io.NodeOutput(ui={"freescale_a": previews(image_a), "freescale_b": previews(image_b)})
