"""Clips: a batch whose samples are frames, drawn by the host, and layers between frames."""

import json
import zlib
from pathlib import Path

import comfy.sample
import comfy.samplers
import families
import numpy as np
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock, SpatialTransformer
from comfy.patcher_extension import PatcherInjection
from comfy_extras.nodes_context_windows import ContextWindowsManualNode

FRAMES = 4
PARITY = Path(__file__).parents[2] / "parity" / "videocrafter2"
SHAPES: dict[str, list[int]] = json.loads((PARITY / "shapes.json").read_text())  # of VideoCrafter2's released U-Net
PREFIX = "model.diffusion_model."
FIRST_ATTENTION = {512: 128, 4096: 1024, 2048: 512}


def draw(model, prompts, size, frames=range(FRAMES), cfg=2.0, sigmas=(5.0, 0.0)):
    """A clip's latent: these frames of a film whose noise and latents are those of their numbers."""
    noise, latent = (torch.cat([families.random(1, 4, *size, seed=first + n) for n in frames]) for first in (100, 200))
    return comfy.sample.sample_custom(
        model,
        noise,
        cfg,
        comfy.samplers.sampler_object("euler"),
        torch.tensor(sigmas),
        *prompts,
        latent,
        seed=1,
        disable_pbar=True,
    )


def in_windows(model, length, overlap=1):
    """The MODEL under the host's own context windows."""
    return ContextWindowsManualNode.execute(model, length, overlap, "standard_static", 1, False, "pyramid", 0).args[0]


class Motion(torch.nn.Module):
    """Stands for a motion module of AnimateDiff's: self-attention between the frames of each clip in the rows."""

    frames = FRAMES  # as another pack keeps it: set for each run

    def __init__(self, channels, seen):
        super().__init__()
        self.temporal_transformer, self.seen = BasicTransformerBlock(channels, 2, channels // 2), seen
        families.fill(self.temporal_transformer, 4)

    def forward(self, x):
        clips, (_, _, h, w) = x.unflatten(0, (-1, self.frames)), x.shape
        self.seen.append(clips)
        tokens = clips.permute(0, 3, 4, 1, 2).flatten(0, 2)  # [clips·h·w, frames, C]
        tokens = self.temporal_transformer(tokens)
        return tokens.unflatten(0, (-1, h, w)).permute(0, 3, 4, 1, 2).flatten(0, 1)


def animated(model):
    """(a clone that has a motion module after each transformer, in the middle too, whenever it is loaded; what they were given)."""
    seen, network = [], model.model.diffusion_model
    blocks = [*network.input_blocks, network.middle_block, *network.output_blocks]
    modules = {
        block: Motion(layer.in_channels, seen).eval().requires_grad_(False)
        for block in blocks
        for layer in block
        if isinstance(layer, SpatialTransformer)
    }

    def eject(patcher):
        for block in modules:
            for place in [place for place, layer in enumerate(block) if isinstance(layer, Motion)]:
                del block[place]

    def inject(patcher):
        eject(patcher)
        for block, module in modules.items():
            block.insert(2, module)

    clone = model.clone()
    clone.set_injections("AnimateDiff", [PatcherInjection(inject=inject, eject=eject)])
    return clone, seen


def narrow_videocrafter() -> dict[str, torch.Tensor]:
    """A checkpoint's U-Net by its own names: 32 channels, 16 a head, prompts of 24, as in the vectors."""
    return {PREFIX + name: _weight(name, _narrow(name, shape)) for name, shape in SHAPES.items()}


def _narrow(name, shape):
    """A tenth of the released widths."""
    scales = FIRST_ATTENTION if name.startswith("init_attn") else {1024: 24}
    return [scales.get(n, n // 10 if n % 320 == 0 else n) for n in shape]


def _weight(name, shape):
    """What the vectors' README says that a parameter is."""
    raw = np.random.Philox(key=zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    u = torch.from_numpy(((raw >> 11) * 2.0**-53 - 0.5) * 12**0.5).reshape(shape)
    if len(shape) > 1:
        return (u / np.prod(shape[1:]) ** 0.5).float()
    return (0.1 * u + name.endswith(".weight")).float()
