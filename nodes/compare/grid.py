"""FreeScaleGrid: pictures side by side."""

from math import ceil, isqrt

from comfy_api.latest import io

from ..host.checks import checked
from ..host.errors import bad_input
from ..host.schema import where_known
from .contact_sheet import grid

NAME = "FreeScale Grid"
PICTURES = 9
LARGEST_CELL = 4096  # px
MOST_PIXELS = 2**28  # of the grid: 3 GB as an IMAGE


class FreeScaleGrid(io.ComfyNode):
    """One picture of many, in rows."""

    @classmethod
    @where_known(search_aliases=["contact sheet", "collage", "XY plot", "side by side", "image grid", "combine images"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleGrid",
            display_name=NAME,
            category="FreeScale/compare",
            description="Puts pictures side by side in one. Sizes may differ: all are shown at the size of the largest.",
            inputs=[
                io.Int.Input("columns", default=3, min=1, max=64, tooltip="Pictures in a row."),
                io.Int.Input(
                    "cell",
                    default=1024,
                    min=64,
                    max=LARGEST_CELL,
                    step=64,
                    tooltip="Longer side of a picture in the grid, in px.",
                ),
                *(
                    io.Image.Input(
                        f"picture_{n}", optional=True, tooltip="A picture; each one of a batch gets a place of its own."
                    )
                    for n in range(1, PICTURES + 1)
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="The grid.")],
        )

    @classmethod
    @checked
    def execute(cls, columns, cell, **wired) -> io.NodeOutput:
        batches = (wired.get(f"picture_{n}") for n in range(1, PICTURES + 1))
        pictures = [picture for batch in batches if batch is not None for picture in batch]
        if not pictures:
            raise bad_input(NAME, "picture_1", "none", "there is nothing to show. Wire at least one picture")
        columns = min(columns, len(pictures))
        cells = columns * ceil(len(pictures) / columns)
        if cells * cell**2 > MOST_PIXELS:
            fitting = isqrt(MOST_PIXELS // cells)
            problem = f"{cells} places of this size are more than {MOST_PIXELS // 2**20} megapixels. Up to {fitting} is possible"
            raise bad_input(NAME, "cell", cell, f"{problem}, or more with fewer pictures")
        return io.NodeOutput(grid(pictures, columns, cell))
