"""Inputs that the cascade, its stages and the Blend Sampler have in common."""

from comfy_api.latest import io

from ...freescale_core.detail import HIGHEST_DETAIL
from ..host.schema import advanced
from ..host.stage.samplers import NAMES, SCHEDULERS
from ..host.types import DetailMap

SOURCES = [
    io.Model.Input("model", tooltip="The model, patched with Scale Fusion and Restrained Dilation."),
    io.Conditioning.Input("positive", tooltip="The prompt."),
    io.Conditioning.Input("negative", tooltip="What to avoid."),
    io.Vae.Input("vae", tooltip="The VAE of the checkpoint: between stages the picture is enlarged as pixels."),
    io.Latent.Input(
        "latent_image",
        optional=True,
        tooltip="Stage 0: the latent of an ordinary sampler at the native size. Wire this or image.",
    ),
    io.Image.Input("image", optional=True, tooltip="Instead of latent_image: any picture to enlarge and enhance."),
]
DETAIL = [
    io.Float.Input(
        "detail",
        default=2.0,
        min=0.0,
        max=HIGHEST_DETAIL,
        step=0.05,
        tooltip=(
            "Larger: leaves the previous picture sooner and invents more detail. Smaller: stays closer to it. 2 is the paper's; 1"
            " or less for 8K."
        ),
    ),
    DetailMap.Input(
        "detail_map", optional=True, tooltip="A different detail for each region, from FreeScale Region Detail. Replaces detail."
    ),
]
SETTINGS = [
    io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=0xFFFFFFFFFFFFFFFF,
        control_after_generate=True,
        tooltip="Seed of the noise. The same seed gives the same picture, bit for bit.",
    ),
    io.Int.Input(
        "steps",
        default=50,
        min=1,
        max=1000,
        tooltip="Length of the full schedule. A stage runs its tail: 50 steps at denoise 0.7 are 35 model calls.",
    ),
    io.Float.Input(
        "cfg",
        default=7.5,
        min=0.0,
        max=100.0,
        step=0.1,
        tooltip="Guidance: how strictly the prompt is followed. 1 for Turbo and Lightning models.",
    ),
    io.Combo.Input(
        "sampler_name",
        options=NAMES,
        default="euler",
        tooltip="euler is what the paper uses. uni_pc and sa_solver cannot be blended and are refused.",
    ),
    io.Combo.Input(
        "scheduler",
        options=SCHEDULERS,
        default="ddim_uniform",
        tooltip="ddim_uniform is what the paper uses; sgm_uniform for Turbo models.",
    ),
    io.Float.Input(
        "denoise",
        default=0.7,
        min=0.01,
        max=1.0,
        step=0.01,
        tooltip="How far back each stage starts: 0.7 of the noise schedule. Larger re-draws more.",
    ),
    *DETAIL,
    advanced(
        io.Combo.Input(
            "resize_in",
            options=["pixels", "latent"],
            default="pixels",
            tooltip="Where the picture is enlarged between stages. pixels is better for pictures.",
        )
    ),
    advanced(
        io.Combo.Input(
            "vae_tiling",
            options=["auto", "always", "never"],
            default="auto",
            tooltip="auto: the VAE works in tiles only where the whole would not fit in memory.",
        )
    ),
    advanced(
        io.Boolean.Input(
            "color_fix",
            default=False,
            optional=True,
            label_on="on",
            label_off="off",
            tooltip=(
                "on: broad areas keep the colours of the picture before while detail is drawn. For a sky or a skin that changes"
                " colour from stage to stage."
            ),
        )
    ),
]
