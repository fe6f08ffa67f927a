"""The methods that Table 1 compares, each by the settings of its own paper (js/docs has them in words), and the model they run on."""

from dataclasses import replace
from pathlib import Path

import comfy.model_base
import comfy.sd
import families
import methods
import torch
from comfy_extras.nodes_freelunch import FreeU
from drawing import DEMO, REFERENCE, Checkpoint, demo, encoder, sha256
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.conditioning import pin_size
from methods import Work

from tools.console import Trouble

METHODS = ("direct", "ScaleCrafter", "FouriScale", "HiDiffusion", "DemoFusion", "FreeScale")
FREE_U = (1.1, 1.2, 0.6, 0.4)  # on in the authors' scripts of FreeScale and of FouriScale


def load(name: str) -> Checkpoint:
    """A checkpoint by ComfyUI's own loader, or the embedded model; Trouble where it is none to draw with."""
    if name == DEMO:
        return demo(METHODS)
    try:
        model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(name)
    except Exception as error:  # whatever the host's loader meets in a file that is no checkpoint
        raise Trouble(f"--checkpoint {name} cannot be loaded: {error}") from None
    if model is None or clip is None or getattr(vae, "first_stage_model", None) is None:
        raise Trouble(f"--checkpoint {name} lacks the model, the text encoder or the VAE. Take a file that holds all three.")
    try:
        family_of(model, "table1")
    except ValueError as error:
        raise Trouble(str(error)) from None

    return Checkpoint(model, vae, encoder(clip), paper_cfg(model), sha256([Path(name)]))


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
        work = replace(with_size(work, 1), sampler_name="euler_ancestral")
    if name == "DemoFusion":
        # Its authors tell the target's in every stage: the cascade would tell the native size.
        work = with_size(work, work.times)
    if name == "FreeScale":
        return methods.freescale(work, {"seed": work.seed})
    return methods.OF_U_NETS[name](work)


def with_size(work: Work, times: int) -> Work:
    """The work with that multiple of the native size in SDXL's prompts."""
    size = work.size(times)
    return replace(work, positive=pin_size(work.positive, size), negative=pin_size(work.negative, size))
