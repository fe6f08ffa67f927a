"""Inputs and outputs that the rivals' nodes have in common."""

from comfy_api.latest import io

from ..host.schema import advanced

MODEL = io.Model.Input(
    "model",
    tooltip=(
        "An SDXL or SD 1.x / 2.x model. LoRA and other patches may come before or after; leave Scale Fusion and Restrained"
        " Dilation out."
    ),
)
SEED = io.Int.Input(
    "seed",
    default=0,
    min=0,
    max=0xFFFFFFFFFFFFFFFF,
    control_after_generate=False,
    tooltip="Seed of what the method draws at random. The same seed gives the same picture, bit for bit.",
)
NATIVE_SIZE = advanced(
    io.Int.Input(
        "native_size",
        default=0,
        min=0,
        max=8192,
        step=64,
        tooltip="0: from the model (SDXL 1024, SD 1.5 512). Else the length in px of the longer side the model was trained at.",
    )
)
PATCHED = io.Model.Output(display_name="MODEL", tooltip="The model that draws with this method.")
