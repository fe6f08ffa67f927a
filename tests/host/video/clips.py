"""Clips: a batch whose samples are frames, drawn by the host, and layers between frames."""

import comfy.sample
import comfy.samplers
import families
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock, SpatialTransformer
from comfy.patcher_extension import PatcherInjection
from comfy_extras.nodes_context_windows import ContextWindowsManualNode

FRAMES = 4


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
