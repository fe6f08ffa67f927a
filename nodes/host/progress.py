"""What a person sees while a cascade runs, beyond ComfyUI's own progress bar and previews."""

from server import PromptServer

STAGE = "FreeScaleCascadeStage"


def announce_stage(hidden, width: int, height: int, enlarged: bool) -> None:
    """Show "stage k of n" on the cascade's node, and whether the patches have anything to do there.

    `hidden` has the stage's unique_id and the running graph.
    """
    graph, own_id = hidden.dynprompt, hidden.unique_id
    parent = graph.get_parent_node_id(own_id)
    siblings = [
        i for i in graph.all_node_ids() if graph.get_parent_node_id(i) == parent and graph.get_node(i)["class_type"] == STAGE
    ]
    if parent is None or own_id not in siblings:
        return
    number = own_id.rsplit("stage", 1)[-1]
    text = f"stage {number} of {len(siblings)}: {width} × {height} px"
    if not enlarged:
        text += " (about the model's native size: Scale Fusion and dilation rest)"
    PromptServer.instance.send_progress_text(text, graph.get_display_node_id(own_id))
