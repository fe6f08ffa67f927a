"""Inputs and outputs that the rivals' nodes have in common."""

from comfy_api.latest import io

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
PATCHED = io.Model.Output(display_name="MODEL", tooltip="The model that draws with this method.")
