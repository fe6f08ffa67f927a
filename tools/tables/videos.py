"""The methods that Tables 3 and 4 compare, by the paper's settings, and the models that draw their clips."""

from pathlib import Path

import folder_paths
import methods
import torch
from drawing import DEMO, REFERENCE, Checkpoint, demo, encoder, sha256
from freescale.nodes.demo.config import FRAMES
from freescale.nodes.host.videocrafter import load_checkpoint
from methods import Work

from tools.console import Trouble

RGB, DILATED_UP = "RGB upsampling", "dilated up-blocks"
METHODS = ("direct", "ScaleCrafter", "DemoFusion", "FreeScale", DILATED_UP, RGB)
CFG, FPS, VIDEOCRAFTER_FRAMES = 12.0, 28, 16  # the frames a second are not in the paper: those of VideoCrafter's own script


def load(name: str) -> Checkpoint:
    """VideoCrafter2 by the pack's loader, or the embedded model, whose frames are pictures that know nothing of each other.

    Trouble where it is none to draw with.
    """
    if name == DEMO:
        return demo(METHODS, FRAMES)
    path = Path(name).resolve()
    folder_paths.add_model_folder_path("checkpoints", str(path.parent), is_default=True)
    try:
        model, clip, vae = load_checkpoint(path.name, FPS)
    except Exception as error:  # ours, in words, or whatever the host meets in a file that is no checkpoint
        raise Trouble(f"--checkpoint {name} cannot be loaded: {error}") from None

    return Checkpoint(model, vae, encoder(clip), dict.fromkeys((REFERENCE, *METHODS), CFG), sha256([path]), VIDEOCRAFTER_FRAMES)


def drawn(name: str, work: Work) -> torch.Tensor:
    """A method's clip [frames, H, W, 3]; the reference is that of the native size."""
    if name == REFERENCE:
        return work.picture(work.base())
    if name not in ("FreeScale", RGB, DILATED_UP):
        return methods.OF_U_NETS[name](work)
    dilation = {"preset": methods.DILATED_UP} if name == DILATED_UP else {}
    return methods.freescale(work, {"seed": work.seed}, dilation, resize_in="pixels" if name == RGB else "latent")
