"""SelfCascadeUpscale: one or more FreeScale stages, from a latent or a picture."""

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ..freescale_core.grammar import parse_stages, stage_sizes
from .cascade_stage import COMMON_INPUTS, stage_of
from .host.cascade import picture_size, require_plan
from .host.errors import bad_input
from .types import DetailMap

NAME = "FreeScale Cascade"


class SelfCascadeUpscale(io.ComfyNode):
    """SPEC §1. Expands into one node per stage, so that ComfyUI caches, previews and cancels each as its own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SelfCascadeUpscale",
            display_name=NAME,
            category="FreeScale",
            description=(
                "Enlarges a picture in stages, re-drawing each at its new size while holding on to the one before. Patch the "
                "model with FreeScale Scale Fusion and FreeScale Restrained Dilation first."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The model, patched with Scale Fusion and Restrained Dilation."),
                io.Conditioning.Input("positive", tooltip="The prompt."),
                io.Conditioning.Input("negative", tooltip="What to avoid."),
                io.Vae.Input("vae", tooltip="The VAE of the checkpoint: between stages the picture is enlarged as pixels."),
                io.Latent.Input("latent_image", optional=True, tooltip="Stage 0: the latent of an ordinary sampler at the native size. Wire this or image."),
                io.Image.Input("image", optional=True, tooltip="Instead of latent_image: any picture to enlarge and enhance."),
                io.String.Input("stages", default="2x, 2x", tooltip="The stages, smallest first: factors of the picture before (2x, 2x) or sizes as width x height (2048x2048, 4096x4096)."),
                *COMMON_INPUTS,
                DetailMap.Input("detail_map", optional=True, tooltip="A different detail for each region, from FreeScale Region Detail. Replaces detail."),
                io.Combo.Input("resize_in", options=["pixels", "latent"], default="pixels", tooltip="Where the picture is enlarged between stages. pixels is better for pictures."),
                io.Combo.Input("vae_tiling", options=["auto", "always", "never"], default="auto", tooltip="auto: the VAE works in tiles only where the whole would not fit in memory."),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="The last stage's picture."),
                io.Latent.Output(display_name="LATENT", tooltip="The last stage's latent; it can go on into another cascade."),
                io.Image.Output("stage_pictures", display_name="stages", is_output_list=True, tooltip="The picture of every stage, smallest first."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            enable_expand=True,
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, stages: str | None) -> bool | str:
        """Refuse a mistyped stage list when Queue is pressed; one that comes through a link (None) is read when it runs."""
        try:
            if stages is not None:
                parse_stages(stages)
        except ValueError as error:
            return str(bad_input(NAME, "stages", stages, str(error)))
        return True

    @classmethod
    def execute(cls, model, positive, negative, vae, stages, latent_image=None, image=None, **settings) -> io.NodeOutput:
        height, width = picture_size(NAME, model, vae, latent_image, image)
        try:
            sizes = stage_sizes(stages, height, width)
        except ValueError as error:
            raise bad_input(NAME, "stages", stages, str(error)) from None
        for size in sizes:
            require_plan(NAME, model, stage_of(*size, settings))
        return cls._expand(sizes)

    @classmethod
    def _expand(cls, sizes: list[tuple[int, int]]) -> io.NodeOutput:
        """The sub-graph: our own inputs, links as links, go to every stage; the picture goes from stage to stage."""
        inputs = dict(cls.hidden.dynprompt.get_node(cls.hidden.unique_id)["inputs"])
        del inputs["stages"]
        graph = GraphBuilder()
        for number, (height, width) in enumerate(sizes, 1):
            stage = graph.node("FreeScaleCascadeStage", id=f"stage{number}", **inputs, height=height, width=width)
            inputs |= {"image": stage.out(0), "latent_image": stage.out(1), "pictures": stage.out(2)}
        pictures = graph.node("FreeScaleStagePictures", id="pictures", pictures=stage.out(2))
        return io.NodeOutput(stage.out(0), stage.out(1), pictures.out(0), expand=graph.finalize())
