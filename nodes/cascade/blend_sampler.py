"""FreeScaleBlendSampler: the cascade's blend for ComfyUI's own custom-sampling nodes."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.schema import where_known
from ..host.stage.blend import BlendSampler
from ..host.stage.samplers import require_blendable
from .inputs import DETAIL

NAME = "FreeScale Blend Sampler"


class FreeScaleBlendSampler(io.ComfyNode):
    """A SAMPLER that blends (FreeScale, section 3.1)."""

    @classmethod
    @where_known(search_aliases=["upscale sampler", "skip residual", "hires fix"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleBlendSampler",
            display_name=NAME,
            category="FreeScale",
            description=(
                "Holds each sampling step to the noised input latent, less and less as detail is added. Wire it between "
                "KSamplerSelect and SamplerCustomAdvanced; the latent is the enlarged previous stage."
            ),
            inputs=[
                io.Sampler.Input("sampler", tooltip="From KSamplerSelect or another sampler node."),
                *DETAIL,
            ],
            outputs=[io.Sampler.Output(display_name="SAMPLER", tooltip="For SamplerCustom or SamplerCustomAdvanced.")],
        )

    @classmethod
    @checked
    def execute(cls, sampler, detail, detail_map=None) -> io.NodeOutput:
        require_blendable(sampler, NAME, "sampler")
        return io.NodeOutput(BlendSampler(sampler, detail, detail_map))
