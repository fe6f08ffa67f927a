"""FreeScaleDemoModel: a small trained model, so that everything runs at once with nothing downloaded."""

from comfy_api.latest import io

from .demo.config import FRAMINGS, NATIVE, encode_conditions
from .host.demo_model import load_demo_model
from .host.errors import within_limits

OPEN = "any"


class FreeScaleDemoModel(io.ComfyNode):
    """Draws one character above a ground line, natively at 256 px; nodes/demo/train.py made it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleDemoModel",
            display_name="FreeScale Demo Model",
            category="FreeScale",
            description="A tiny model of SDXL's structure that draws one character on a meadow at 256 px, on any computer. For trying FreeScale out; replace it by a checkpoint loader.",
            inputs=[
                io.Combo.Input("hat", options=["yes", "no", OPEN], default="no", tooltip="Whether the character wears a hat."),
                io.Float.Input("hue", default=0.1, min=0.0, max=1.0, step=0.01, tooltip="Colour of the sky, as a turn around the colour circle: 0 red, 0.33 green, 0.67 blue."),
                io.Combo.Input("framing", options=[*FRAMINGS, OPEN], default=FRAMINGS[0], tooltip="What the picture shows: the whole character, a part of it, or the meadow without it."),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.Conditioning.Output("positive", display_name="positive"),
                io.Conditioning.Output("negative", display_name="negative"),
                io.Vae.Output(display_name="VAE"),
            ],
        )  # fmt: skip

    @classmethod
    @within_limits
    def execute(cls, hat, hue, framing) -> io.NodeOutput:
        model, vae = load_demo_model()
        positive = encode_conditions({"yes": True, "no": False}.get(hat), hue, framing if framing in FRAMINGS else None)
        negative = encode_conditions(None, None, None)
        return io.NodeOutput(
            model,
            *(
                [[tokens[None], {"pooled_output": pooled[None], "width": NATIVE, "height": NATIVE}]]
                for tokens, pooled in (positive, negative)
            ),
            vae,
        )
