"""Inputs that nodes of several folders have in common."""

from comfy_api.latest import io

from .host.schema import advanced

MODEL = io.Model.Input(
    "model", tooltip="SDXL, SD 1.x / 2.x, FLUX, Z-Image, Qwen-Image … LoRA and other patches may come before or after."
)
NATIVE_SIZE = advanced(
    io.Int.Input(
        "native_size",
        default=0,
        min=0,
        max=8192,
        step=64,
        tooltip=(
            "0: from the model (SDXL 1024, SD 1.5 512). Else the length in px of the longer side the model was trained at, e.g."
            " 512 for SDXL Turbo."
        ),
    )
)
