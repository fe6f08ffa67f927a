"""The methods that Table 1 compares, each by the settings of its own paper (js/docs has them in words)."""

from dataclasses import replace

import comfy.model_base
import families
import methods
import torch
from comfy_extras.nodes_freelunch import FreeU
from freescale.nodes.host.stage.conditioning import pin_size
from methods import Work

REFERENCE = "reference"
METHODS = ("direct", "ScaleCrafter", "FouriScale", "HiDiffusion", "DemoFusion", "FreeScale")
FREE_U = (1.1, 1.2, 0.6, 0.4)  # on in the authors' scripts of FreeScale and of FouriScale


def paper_cfg(model) -> dict[str, float]:
    """Name → guidance scale in its paper."""
    by_name = dict.fromkeys((REFERENCE, *METHODS), 7.5)
    if isinstance(model.model, comfy.model_base.SDXL):
        by_name |= {"ScaleCrafter": 5.0, "FouriScale": 5.0}
    return by_name


def drawn(name: str, work: Work) -> torch.Tensor:
    """A method's picture [1, H, W, 3]; the reference is that of the native size."""
    if name == REFERENCE:
        return work.picture(work.base())
    if name in ("FouriScale", "FreeScale"):
        work = replace(work, model=families.host_node(FreeU, work.model, *FREE_U)[0])
    if name == "FouriScale":
        # The authors tell SDXL the native size: ComfyUI would tell it the target's.
        work = replace(with_size(work, work.native), sampler_name="euler_ancestral")
    if name == "DemoFusion":
        # Its authors tell the target's in every stage: the cascade would tell the native size.
        work = with_size(work, work.side)
    if name == "FreeScale":
        return methods.freescale(work, {"seed": work.seed})
    return methods.ALL[name](work)


def with_size(work: Work, side: int) -> Work:
    """The work with that size in SDXL's prompts."""
    return replace(work, positive=pin_size(work.positive, (side, side)), negative=pin_size(work.negative, (side, side)))
