"""The sub-graph that a cascade expands into: ComfyUI caches, previews and cancels each stage of it."""

from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

STAGE, PICTURES = "FreeScaleCascadeStage", "FreeScaleStagePictures"  # the ids of the nodes that it is made of


def in_queue(hidden: Any) -> bool:
    """Whether a node with these hidden inputs runs in ComfyUI's queue, and not in a script."""
    return getattr(hidden, "dynprompt", None) is not None


def expanded(hidden: Any, sizes: list[tuple[int, int]]) -> io.NodeOutput:
    """One node for each stage of (height, width) px, and for each but the last one its picture to look at as soon as it is done.

    The cascade's own inputs, links as links, go to every stage; the picture goes from stage to stage. `hidden` has the
    cascade's unique_id and the running graph.
    """
    inputs = dict(hidden.dynprompt.get_node(hidden.unique_id)["inputs"])
    del inputs["stages"]
    graph = GraphBuilder()
    for number, (height, width) in enumerate(sizes, 1):
        stage = graph.node(STAGE, id=f"stage{number}", **inputs, height=height, width=width)
        inputs |= {"image": stage.out(0), "latent_image": stage.out(1), "pictures": stage.out(2)}
        if number < len(sizes):  # so that Cancel or an error in a later stage loses no picture
            graph.node("PreviewImage", id=f"picture{number}", images=stage.out(0))
    pictures = graph.node(PICTURES, id="pictures", pictures=stage.out(2))
    return io.NodeOutput(stage.out(0), stage.out(1), pictures.out(0), expand=graph.finalize())
