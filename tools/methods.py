"""Ways from a prompt and a seed to a large picture: FreeScale, its ablations, its rivals, and what people use instead."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import Any

import comfy.model_patcher
import families
import flow_rivals
import torch
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from freescale.nodes.host import pictures
from freescale.nodes.host.stage.plan import Stage
from freescale.nodes.host.stage.run import run_stage
from freescale.nodes.patches.scale_fusion import PRESETS
from freescale.nodes.rivals.demofusion import FreeScaleRivalDemoFusion
from freescale.nodes.rivals.fouriscale import FreeScaleRivalFouriScale
from freescale.nodes.rivals.hidiffusion import FreeScaleRivalHiDiffusion
from freescale.nodes.rivals.scalecrafter import FreeScaleRivalScaleCrafter
from torchvision.transforms.functional import gaussian_blur

import nodes as host_nodes

DENOISE, DETAIL = 0.7, 2.0  # the cascade's defaults
DEEP_SHRINK = dict(
    block_number=3, downscale_factor=4.0, start_percent=0.0, end_percent=0.35, downscale_after_skip=True,
    downscale_method="bicubic", upscale_method="bicubic",
)  # fmt: skip
DILATED_UP = "FreeScale + up blocks"
MARGIN, SOFT, TILE_DENOISE = 32, 8, 0.35  # px, px of blur: the defaults of Ultimate SD Upscale and what people use it with


@dataclass(frozen=True)
class Work:
    """What every method is given: a picture, or a clip of `frames`, `times` as high and wide as a model's native (height, width)."""

    model: comfy.model_patcher.ModelPatcher
    positive: list
    negative: list
    vae: Any
    native: tuple[int, int]
    times: int
    seed: int
    steps: int
    cfg: float
    sampler_name: str = "euler"
    scheduler: str = "ddim_uniform"
    frames: int = 1
    denoise: float = DENOISE

    def size(self, times: int) -> tuple[int, int]:
        """(height, width) px."""
        height, width = self.native
        return height * times, width * times

    def empty(self, times: int) -> dict:
        """The host's empty LATENT."""
        height, width = self.size(times)
        return families.host_node(host_nodes.EmptyLatentImage, width, height, self.frames)[0]

    def ksampler(self, model, latent: dict, denoise: float = 1.0) -> dict:
        """The host's KSampler."""
        settings = (self.seed, self.steps, self.cfg, self.sampler_name, self.scheduler, self.positive, self.negative)
        return families.host_node(host_nodes.KSampler, model, *settings, latent, denoise)[0]

    def base(self) -> dict:
        """The LATENT of the native picture."""
        return self.ksampler(self.model, self.empty(1))

    def picture(self, latent: dict) -> torch.Tensor:
        """[frames, H, W, 3], in 0 … 1."""
        return pictures.decode(self.vae, latent["samples"], "auto")

    def direct(self, model) -> torch.Tensor:
        """Sampled at the large size at once."""
        return self.picture(self.ksampler(model, self.empty(self.times)))

    def cascade(self, model, latent: dict, factor=2, step=0, **how) -> torch.Tensor:
        """From the native picture through FreeScale's cascade: each stage `factor` × the one before, or `step` native sides more."""
        times, picture = 1, None
        while times < self.times:
            times = min(times + step if step else times * factor, self.times)
            picture, latent = self.stage(model, times, latent, picture, **how)
        return picture

    def stage(
        self,
        model,
        times: int,
        latent: dict,
        picture=None,
        denoise: float | None = None,
        detail=DETAIL,
        resize_in="pixels",
        **more,
    ) -> tuple[torch.Tensor, dict]:
        """One stage of a cascade: its picture and its LATENT."""
        denoise = self.denoise if denoise is None else denoise
        how = (self.seed, self.steps, self.cfg, self.sampler_name, self.scheduler, denoise, detail, resize_in, "auto")
        stage = Stage(*self.size(times), *how, **more)
        return run_stage("FreeScale Cascade", model, self.positive, self.negative, self.vae, stage, latent, picture)


Method = Callable[[Work], torch.Tensor]


def freescale(work: Work, fusion: dict | None = None, dilation: dict | None = None, **cascade) -> torch.Tensor:
    """The whole method by its defaults; what is given changes it."""
    model = families.with_scale_fusion(work.model, **(fusion or {}))
    return work.cascade(families.with_dilation(model, **(dilation or {})), work.base(), **cascade)


def demofusion(work: Work) -> torch.Tensor:
    """Stages one integer apart, from the first step on, with the skip residual C³."""
    base = work.base()
    [model] = FreeScaleRivalDemoFusion.execute(work.model, 1.0, work.seed, 0, base).args
    return work.cascade(model, base, step=1, denoise=1.0, detail=3.0, resize_in="latent")


def hires_fix(work: Work) -> torch.Tensor:
    """The latent enlarged and sampled again."""
    height, width = work.size(work.times)
    [enlarged] = families.host_node(host_nodes.LatentUpscale, work.base(), "bicubic", width, height, "disabled")
    return work.picture(work.ksampler(work.model, enlarged, 0.55))


def deep_shrink(work: Work) -> torch.Tensor:
    """The host's PatchModelAddDownscale, by the ratio of the sides."""
    settings = {**DEEP_SHRINK, "downscale_factor": float(work.times)}
    return work.direct(families.host_node(PatchModelAddDownscale, work.model, **settings)[0])


def hypertile(work: Work) -> torch.Tensor:
    """The host's HyperTile, in tiles of the native size."""
    settings = dict(tile_size=min(work.native), swap_size=2, max_depth=0, scale_depth=False)
    return work.direct(families.host_node(HyperTile, work.model, **settings)[0])


def tiled(work: Work) -> torch.Tensor:
    """Tiles of the native size drawn again on the picture enlarged twice and twice again, as Ultimate SD Upscale does by default."""
    picture, times = work.picture(work.base()), 1
    while times < work.times:
        times = min(2 * times, work.times)
        picture = _redrawn(work, pictures.resize_image(picture, *work.size(times)))
    return picture


def _redrawn(work: Work, picture: torch.Tensor) -> torch.Tensor:
    """Each tile of the native size [1, H, W, 3], seen with a margin, is drawn again and laid over its place with soft edges."""
    picture, (height, width) = picture.clone(), work.native
    rows, columns = (range(0, side, step) for side, step in zip(picture.shape[1:3], work.native))
    for top, left in product(rows, columns):
        around = tuple(
            slice(max(0, start - MARGIN), min(side, start + step + MARGIN))
            for start, step, side in zip((top, left), work.native, picture.shape[1:3])
        )
        seen = picture[:, around[0], around[1]]
        latent = {"samples": pictures.encode(work.vae, seen, "auto")}
        drawn = work.picture(work.ksampler(work.model, latent, TILE_DENOISE)).to(picture)
        inside = torch.zeros(seen.shape[1:3])
        y, x = top - around[0].start, left - around[1].start
        inside[y : y + height, x : x + width] = 1
        inside = gaussian_blur(inside[None], [4 * SOFT + 1] * 2, SOFT)[0, :, :, None].to(picture)
        picture[:, around[0], around[1]] = seen + inside * (drawn - seen)
    return picture


_ALWAYS: dict[str, Method] = {
    "FreeScale": freescale,
    **{f"FreeScale, {name}": lambda work, name=name: freescale(work, {"preset": name}) for name in list(PRESETS)[1:]},
    "FreeScale, color_fix": lambda work: freescale(work, color_fix=True),
    "without Scale Fusion": lambda work: work.cascade(families.with_dilation(work.model), work.base()),
    "global only": lambda work: freescale(work, {"branches": "global only"}),
    "local only": lambda work: freescale(work, {"branches": "local only"}),
}
_REST: dict[str, Method] = {
    "latent resize": lambda work: freescale(work, resize_in="latent"),
    "without the blend": lambda work: freescale(work, detail=inf),  # c = ((1 + cos) / 2)^∞ = 0
    "direct": lambda work: work.direct(work.model),
}
_INSTEAD: dict[str, Method] = {"hires-fix": hires_fix, "tiled re-drawing": tiled}
OF_U_NETS: dict[str, Method] = {
    **_ALWAYS,
    "without dilation": lambda work: work.cascade(families.with_scale_fusion(work.model), work.base()),
    "dilated up-blocks": lambda work: freescale(work, dilation={"preset": DILATED_UP}),
    **_REST,
    "ScaleCrafter": lambda work: work.direct(FreeScaleRivalScaleCrafter.execute(work.model, True, 0).args[0]),
    "FouriScale": lambda work: work.direct(FreeScaleRivalFouriScale.execute(work.model, 0.4, 0.7, 0).args[0]),
    "HiDiffusion": lambda work: work.direct(FreeScaleRivalHiDiffusion.execute(work.model, work.seed, 0).args[0]),
    "DemoFusion": demofusion,
    "Deep Shrink": deep_shrink,
    "HyperTile": hypertile,
    **_INSTEAD,
}
OF_TRANSFORMERS: dict[str, Method] = {
    **_ALWAYS,
    "strided": lambda work: freescale(work, {"global_attention": "strided"}),
    "without NTK": lambda work: freescale(work, {"rope_factor": 1.0}),
    **_REST,
    "HiFlow": flow_rivals.hiflow,
    "I-Max": flow_rivals.imax,
    "direct, NTK": lambda work: work.direct(families.with_scale_fusion(work.model, branches="global only")),
    **_INSTEAD,
}
