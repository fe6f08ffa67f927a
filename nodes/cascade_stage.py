"""What SelfCascadeUpscale expands into: one node per stage, and one that lists the stages' pictures."""

import comfy.samplers
from comfy_api.latest import io

from ..freescale_core.detail import HIGHEST_DETAIL
from ..freescale_core.geometry import LARGEST_SIDE, LATENT_CELL
from .host.cascade import Stage, picture_size, run_stage
from .host.progress import stage_text
from .schema import advanced, where_known
from .types import DetailMap, StagePictures

NAME = "FreeScale Cascade"

SOURCES = [
    io.Model.Input("model", tooltip="The model, patched with Scale Fusion and Restrained Dilation."),
    io.Conditioning.Input("positive", tooltip="The prompt."),
    io.Conditioning.Input("negative", tooltip="What to avoid."),
    io.Vae.Input("vae", tooltip="The VAE of the checkpoint: between stages the picture is enlarged as pixels."),
    io.Latent.Input("latent_image", optional=True, tooltip="Stage 0: the latent of an ordinary sampler at the native size. Wire this or image."),
    io.Image.Input("image", optional=True, tooltip="Instead of latent_image: any picture to enlarge and enhance."),
]  # fmt: skip
SETTINGS = [
    io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip="Seed of the noise. The same seed gives the same picture, bit for bit."),
    io.Int.Input("steps", default=50, min=1, max=1000, tooltip="Length of the full schedule. A stage runs its tail: 50 steps at denoise 0.7 are 35 model calls."),
    io.Float.Input("cfg", default=7.5, min=0.0, max=100.0, step=0.1, tooltip="Guidance: how strictly the prompt is followed. 1 for Turbo and Lightning models."),
    io.Combo.Input("sampler_name", options=comfy.samplers.KSampler.SAMPLERS, default="euler", tooltip="euler is what the paper uses. uni_pc and sa_solver cannot be blended and are refused."),
    io.Combo.Input("scheduler", options=comfy.samplers.KSampler.SCHEDULERS, default="ddim_uniform", tooltip="ddim_uniform is what the paper uses; sgm_uniform for Turbo models."),
    io.Float.Input("denoise", default=0.7, min=0.0, max=1.0, step=0.01, tooltip="How far back each stage starts: 0.7 of the noise schedule. Larger re-draws more."),
    io.Float.Input("detail", default=2.0, min=0.0, max=HIGHEST_DETAIL, step=0.05, tooltip="Larger: leaves the previous picture sooner and invents more detail. Smaller: stays closer to it. 2 is the paper's; 1 or less for 8K."),
    DetailMap.Input("detail_map", optional=True, tooltip="A different detail for each region, from FreeScale Region Detail. Replaces detail."),
    advanced(io.Combo.Input("resize_in", options=["pixels", "latent"], default="pixels", tooltip="Where the picture is enlarged between stages. pixels is better for pictures.")),
    advanced(io.Combo.Input("vae_tiling", options=["auto", "always", "never"], default="auto", tooltip="auto: the VAE works in tiles only where the whole would not fit in memory.")),
]  # fmt: skip


class FreeScaleCascadeStage(io.ComfyNode):
    """One stage (FreeScale, section 3.1). The cascade makes it; nobody wires it by hand."""

    @classmethod
    @where_known(is_dev_only=True)
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleCascadeStage",
            display_name="FreeScale Cascade Stage (internal)",
            category="FreeScale/internal",
            description="One stage of a FreeScale Cascade. Use FreeScale Cascade instead.",
            inputs=[
                *SOURCES,
                StagePictures.Input("pictures", optional=True, tooltip="The pictures of the stages before."),
                io.Int.Input("height", min=LATENT_CELL, max=LARGEST_SIDE, step=LATENT_CELL, tooltip="Height of this stage in px."),
                io.Int.Input("width", min=LATENT_CELL, max=LARGEST_SIDE, step=LATENT_CELL, tooltip="Width of this stage in px."),
                *SETTINGS,
            ],
            outputs=[
                io.Image.Output("picture", display_name="IMAGE", tooltip="This stage's picture."),
                io.Latent.Output("latent", display_name="LATENT", tooltip="This stage's latent."),
                StagePictures.Output("all_pictures", display_name="pictures", tooltip="The pictures of the stages before, and this one."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, positive, negative, vae, height, width, latent_image=None, image=None, pictures=(), **settings
    ) -> io.NodeOutput:
        if not pictures:  # the first stage; later ones have both, the latent and its picture
            picture_size(NAME, model, vae, latent_image, image)
        stage = Stage(height=height, width=width, **settings)
        say = stage_text(cls.hidden, width, height)
        picture, latent = run_stage(NAME, model, positive, negative, vae, stage, latent_image, image, say)
        return io.NodeOutput(picture, latent, (*pictures, picture))


class FreeScaleStagePictures(io.ComfyNode):
    """Hands the stages' pictures out as one value, a list: were it declared one, each would take an output of the cascade."""

    @classmethod
    @where_known(is_dev_only=True)
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleStagePictures",
            display_name="FreeScale Stage Pictures (internal)",
            category="FreeScale/internal",
            description="The pictures of a FreeScale Cascade's stages. Use FreeScale Cascade instead.",
            inputs=[StagePictures.Input("pictures", tooltip="The pictures of all stages.")],
            outputs=[io.Image.Output("stages", display_name="IMAGE", tooltip="The same as a list, smallest first.")],
        )

    @classmethod
    def execute(cls, pictures) -> io.NodeOutput:
        return io.NodeOutput(list(pictures))
