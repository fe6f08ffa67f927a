"""SelfCascadeUpscale: one or more FreeScale stages, from a latent or a picture."""

from typing import Any

from comfy_api.latest import io

from ...freescale_core.grammar.stages import parse_stages, stage_sizes
from ..host.checks import checked, when_queued
from ..host.errors import bad_input, parsed
from ..host.family import family_of
from ..host.memory import require_memory
from ..host.schema import where_known
from ..host.stage.enlarge import require_enlargeable
from ..host.stage.expansion import expanded, in_queue
from ..host.stage.plan import (
    Stage,
    frames_at_once,
    plan_sigmas,
    require_one_source,
    require_sampler,
    require_source,
)
from .inputs import SETTINGS, SOURCES
from .stage import NAME, FreeScaleCascadeStage

MISSING = object()  # what nothing is wired to


class SelfCascadeUpscale(io.ComfyNode):
    """The cascade (FreeScale, section 3.1). Expands into one node per stage: ComfyUI caches, previews and cancels each."""

    @classmethod
    @where_known(
        essentials_category="Image Tools",
        search_aliases=[
            "upscale",
            "upscaler",
            "4K",
            "8K",
            "hires fix",
            "high resolution",
            "enlarge",
            "enhance",
            "tile",
            "ultimate sd upscale",
            "hochskalieren",
            "agrandir",
            "ampliar",
            "放大",
            "高清修复",
            "アップスケール",
            "高解像度",
            "업스케일",
            "확대",
        ],
    )
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
                *SOURCES,
                io.String.Input(
                    "stages",
                    default="2x, 2x",
                    tooltip=(
                        "The stages, smallest first: factors of the picture before (2x, 2x) or sizes as width x height"
                        " (2048x2048, 4096x4096)."
                    ),
                ),
                *SETTINGS,
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="The last stage's picture."),
                io.Latent.Output(display_name="LATENT", tooltip="The last stage's latent; it can go on into another cascade."),
                io.Image.Output(
                    "stage_pictures",
                    display_name="stages",
                    is_output_list=True,
                    tooltip="The picture of every stage, smallest first.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            enable_expand=True,
            is_input_list=True,  # or ComfyUI would expand once per item of a list, each time wiring the whole list
        )

    @classmethod
    @when_queued
    def validate_inputs(cls, stages=None, sampler_name=None, latent_image=MISSING, image=MISSING) -> None:
        """Refuse a mistyped stage list, a sampler that cannot blend, and two sources or none when Queue is pressed."""
        if stages is not None:
            parsed(NAME, "stages", stages, parse_stages)
        if sampler_name is not None:
            require_sampler(NAME, sampler_name)
        require_one_source(NAME, latent_image is not MISSING, image is not MISSING)

    @classmethod
    def execute(cls, color_fix: Any = False, **inputs) -> io.NodeOutput:
        if isinstance(inputs["stages"], list):  # so from the host; scripts give the values themselves
            inputs = {name: _only(name, values) for name, values in inputs.items()}
            color_fix = color_fix and _only("color_fix", color_fix)
        inputs["color_fix"] = color_fix
        sizes = cls._sizes(**inputs)
        return expanded(cls.hidden, sizes) if in_queue(cls.hidden) else _in_place(sizes, **inputs)

    @classmethod
    @checked
    def _sizes(
        cls, model, positive, negative, vae, stages, latent_image: Any = None, image=None, **settings
    ) -> list[tuple[int, int]]:
        """(height, width) px of each stage, once all of them are known to be possible."""
        height, width = require_source(NAME, model, vae, latent_image, image)
        family = family_of(model, NAME)
        require_enlargeable(NAME, family, positive=positive, negative=negative)
        sizes = parsed(NAME, "stages", stages, lambda text: stage_sizes(text, height, width, family.side_step))
        for height, width in sizes:
            plan_sigmas(NAME, model, Stage(height=height, width=width, **settings))
        require_memory(NAME, stages, model, frames_at_once(family, vae, latent_image, image), sizes)
        return sizes


def _in_place(sizes: list[tuple[int, int]], stages: str, **inputs) -> io.NodeOutput:
    """The stages one after the other, where no queue runs them: in exported scripts and notebooks."""
    for height, width in sizes:
        picture, latent, pictures = FreeScaleCascadeStage.execute(**inputs, height=height, width=width).args
        inputs |= {"image": picture, "latent_image": latent, "pictures": pictures}
    return io.NodeOutput(picture, latent, list(pictures))


def _only(name: str, values: list):
    """The one value of an input."""
    if len(values) != 1:
        raise bad_input(
            NAME,
            name,
            f"a list of {len(values)}",
            "the cascade takes one picture or one batch at a time. Join the list with Batch Images, or take one item of it",
        )
    return values[0]
