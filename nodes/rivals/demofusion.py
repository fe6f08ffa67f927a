"""FreeScaleRivalDemoFusion: DemoFusion, to compare with."""

from comfy_api.latest import io

from ..host.checks import checked
from ..host.family import unet_of
from ..host.rivals.demofusion import with_demofusion
from ..host.schema import where_known
from ..host.stage.plan import require_latent
from ..inputs import NATIVE_SIZE
from .inputs import MODEL, PATCHED, SEED

NAME = "FreeScale Rival DemoFusion"


class FreeScaleRivalDemoFusion(io.ComfyNode):
    """The MODEL that denoises in windows and lattices (arXiv 2311.16973).

    What DemoFusion has around it is this pack's cascade: `denoise` 1 renoises from the first step, `detail` 3 makes the blend
    its skip residual C³, `resize_in` latent its bicubic enlargement; stages one integer apart, 2048, 3072, 4096.
    """

    @classmethod
    @where_known(search_aliases=["high resolution", "MultiDiffusion", "tiled diffusion", "compare methods", "baseline"])
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FreeScaleRivalDemoFusion",
            display_name=NAME,
            category="FreeScale/rivals",
            description=(
                "DemoFusion, to compare FreeScale with: the latent is denoised in native-size windows and in interleaved"
                " lattices. Wire it to FreeScale Cascade with denoise 1, detail 3 and resize_in latent; it acts only above the"
                " model's native size."
            ),
            inputs=[
                MODEL,
                io.Float.Input(
                    "blur",
                    default=1.0,
                    min=0.05,
                    max=8.0,
                    step=0.05,
                    tooltip=(
                        "Standard deviation of the Gaussian before the lattices, in latent cells; it shrinks as the noise does. 1"
                        " by default, 0.8 in the authors' examples."
                    ),
                ),
                SEED,
                NATIVE_SIZE,
                io.Latent.Input(
                    "base",
                    optional=True,
                    tooltip=(
                        "The latent of stage 0. Each enlarged stage then ends with its mean and standard deviation, as in the"
                        " authors' code."
                    ),
                ),
            ],
            outputs=[PATCHED],
        )

    @classmethod
    @checked
    def execute(cls, model, blur, seed, native_size, base=None) -> io.NodeOutput:
        family = unet_of(model, NAME)
        if base is not None:
            require_latent(NAME, "base", family, base["samples"])
        return io.NodeOutput(with_demofusion(model, blur, seed, native_size, base and base["samples"], NAME))
