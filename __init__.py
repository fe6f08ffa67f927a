"""FreeScale for ComfyUI: 2K, 4K and 8K pictures from models trained at 1K, without repeated objects."""

from comfy_api.latest import ComfyExtension, io

from .nodes import NODES

WEB_DIRECTORY = "./js"


class FreeScaleExtension(ComfyExtension):
    """Tells ComfyUI which nodes there are."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of the pack."""
        return NODES


async def comfy_entrypoint() -> ComfyExtension:
    """Called by ComfyUI when it loads the pack."""
    return FreeScaleExtension()
