"""FreeScaleDemoModel: a small trained model, so that everything runs at once with nothing downloaded."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.demo import load_demo_model
from ..host.schema import where_known
from .config import FRAMINGS, NATIVE, NETWORKS, U_NET, encode_conditions

OPEN = "any"


class FreeScaleDemoModel(io.ComfyNode):
    """Draws one character above a ground line, natively at 256 px; tools/demo_model/train.py made the U-Net."""

    @classmethod
    @where_known(search_aliases=["example", "test model", "tiny model", "try", "no download"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleDemoModel",
            display_name="FreeScale Demo Model",
            category="FreeScale",
            description=(
                "A tiny model of SDXL's or FLUX's structure that draws one character on a meadow at 256 px, on any computer. For"
                " trying FreeScale out; replace it by a checkpoint loader."
            ),
            inputs=[
                io.Combo.Input("hat", options=["yes", "no", OPEN], default="no", tooltip="Whether the character wears a hat."),
                io.Float.Input(
                    "hue",
                    default=0.1,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Colour of the sky, as a turn around the colour circle: 0 red, 0.33 green, 0.67 blue.",
                ),
                io.Combo.Input(
                    "framing",
                    options=[*FRAMINGS, OPEN],
                    default=FRAMINGS[0],
                    tooltip="What the picture shows: the whole character, a part of it, or the meadow without it.",
                ),
                io.Combo.Input(
                    "network",
                    options=list(NETWORKS),
                    default=U_NET,
                    optional=True,
                    tooltip=(
                        "U-Net: SDXL in small. transformer: FLUX in small, which draws nothing at 2× or 4× without FreeScale. Use"
                        " cfg 4 and denoise 0.75 with it."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="The model; its native size is 256 px."),
                io.Conditioning.Output(
                    "positive", display_name="positive", tooltip="What hat, hue and framing ask for, as a prompt."
                ),
                io.Conditioning.Output("negative", display_name="negative", tooltip="The empty prompt."),
                io.Vae.Output(display_name="VAE", tooltip="Turns its latents into pictures."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, hat, hue, framing, network=U_NET) -> io.NodeOutput:
        model, vae = load_demo_model(network)
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
