"""FreeScaleTimer: how long a method samples."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.schema import where_known
from ..host.timer import Timer, with_timer
from ..host.types import SamplingTime


class FreeScaleTimer(io.ComfyNode):
    """A MODEL whose samplings are timed."""

    @classmethod
    @where_known(search_aliases=["stopwatch", "benchmark", "seconds", "speed", "how long"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleTimer",
            display_name="FreeScale Timer",
            category="FreeScale/compare",
            description="Measures how long the samplers take that use this model, for the caption of the picture.",
            inputs=[
                io.Model.Input("model", tooltip="The model with everything that the method patches into it."),
                SamplingTime.Input(
                    "before",
                    optional=True,
                    tooltip="Time of what this method starts from, e.g. of the native picture: it counts too.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="The same model; wire it to the samplers of one method."),
                SamplingTime.Output(display_name="time", tooltip="For FreeScale Caption, or for before of another timer."),
            ],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # or ComfyUI would give two timers of one model the same output
        )

    @classmethod
    @checked
    def execute(cls, model, before=None) -> io.NodeOutput:
        timer = Timer(getattr(cls.hidden, "unique_id", None), before)
        return io.NodeOutput(with_timer(model, timer), timer)
