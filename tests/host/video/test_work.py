"""What FreeScale adds to VideoCrafter2's call on 16 frames of 1024 × 640, counted on the meta device at the released width."""

import measure
import pytest
import torch
import unet
from clips import SHAPES
from families import patcher, with_scale_fusion
from freescale.nodes.host import videocrafter
from freescale.nodes.host.temporal import BETWEEN_FRAMES

FRAMES, HEIGHT, WIDTH, META = 16, 640, 1024, torch.device("meta")
WAYS = {"plain": lambda model: model, "Exact": with_scale_fusion}


@pytest.fixture(scope="module")
def kinds():
    """The MODEL of a clip, and one that leaves the layers between frames out."""
    config = videocrafter._VideoCrafter2(
        videocrafter._structure({name: torch.empty(s, device=META) for name, s in SHAPES.items()})
    )
    config.set_inference_dtype(torch.float16, None)
    clip = patcher(videocrafter._VideoCrafter(config, 28, META))
    stills = clip.clone()
    clip.set_model_patch(BETWEEN_FRAMES, "forward_timestep_embed_patch")
    stills.set_model_patch((BETWEEN_FRAMES[0], lambda layer, x, *others: x), "forward_timestep_embed_patch")
    return clip, stills


def test_layers_between_frames_are_as_much_work_and_less_memory(kinds):
    """As docs/video.md has it: a third of a call is the model's own layers between frames, which FreeScale leaves alone."""
    with torch.inference_mode():
        work = {
            name: [measure.flop(unet.call(way(model), HEIGHT, FRAMES, META, torch.float16, WIDTH)) for model in kinds]
            for name, way in WAYS.items()
        }
        peaks = [unet.counted(way(model), HEIGHT, FRAMES, width=WIDTH) for model in kinds for way in WAYS.values()]
    between = {name: clip - stills for name, (clip, stills) in work.items()}
    print({name: [round(flop / 1e12, 1) for flop in found] for name, found in work.items()}, "TFLOP, clip and stills")
    print([round(peak / 2**30, 2) for peak in peaks], "GB at the peak: clip and stills, each plain and Exact")
    assert between["Exact"] == between["plain"] > 0.3 * work["plain"][0]
    assert work["Exact"][0] < 1.15 * work["plain"][0]
    plain_clip, clip, _, stills = peaks
    assert clip == stills < 0.6 * plain_clip  # feed-forwards between frames stay below those over the picture
