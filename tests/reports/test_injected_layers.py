"""What other packs put into a U-Net's blocks, as AnimateDiff does: no layer of ours moves, and none of theirs is taken for one."""

import pytest
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from comfy.patcher_extension import PatcherInjection
from families import FAMILIES, build, with_dilation, with_scale_fusion
from freescale.nodes.host.family import family_of
from patching import LARGE, NATIVE, both, every_method


class Motion(torch.nn.Module):
    """Stands for another pack's layer: it looks like nothing that a U-Net is built of, and has such layers within."""

    def __init__(self, channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.inner = torch.nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x


def injected(model):
    """Motion modules after every layer of every block, in the middle one too, as AnimateDiff leaves them between runs."""
    network = model.model.diffusion_model
    for block in [*network.input_blocks, network.middle_block, *network.output_blocks]:
        for place in range(len(block), 0, -1):
            block.insert(place, Motion(4))
        block.insert(0, Motion(4))


@pytest.mark.parametrize("name", ["SDXL", "SD 1.5"])
def test_injected_layers_shift_no_names(name):
    """AnimateDiff, second run: "'TimestepEmbedSequential' object has no attribute '3'"."""
    family = FAMILIES[name]
    model = build(family)
    before = family_of(model)
    layers, convolutions = before.attention_layers(), list(before.convolutions())
    modules = before.convolutions()
    injected(model)
    after = family_of(model)
    assert after.attention_layers() == layers and list(after.convolutions()) == convolutions
    assert all(after.convolutions()[layer] is modules[layer] for layer in convolutions)
    assert len(after.feed_forwards()) == family.self_attentions


@pytest.mark.parametrize("preset", ["FreeScale", "FreeScale + up blocks", "ScaleCrafter"])
def test_patched_before_or_after_an_injection_the_picture_is_the_same(run, preset):
    """AnimateDiff: another layer was dilated once its modules were in the blocks."""
    model = build(FAMILIES["SDXL"])
    patched = with_dilation(with_scale_fusion(model), preset=preset)
    first = run(patched, LARGE)
    injected(model)
    assert torch.equal(run(patched, LARGE), first)
    assert torch.equal(run(with_dilation(with_scale_fusion(model), preset=preset), LARGE), first)


def animate(model):
    """A clone that the host injects for each load and ejects after it; AnimateDiff's rule: after a block's last transformer, or else after
    its last residual block, in input, middle and output blocks."""
    ran, network = [], model.model.diffusion_model
    blocks = lambda: [*network.input_blocks, network.middle_block, *network.output_blocks]  # noqa: E731

    class Counted(Motion):
        def forward(self, x):
            ran.append(self)
            return x

    def inject(patcher):
        for block in blocks():
            kinds = [type(layer) for layer in block]
            for kind in (SpatialTransformer, ResBlock):
                if kind in kinds:
                    block.insert(len(kinds) - kinds[::-1].index(kind), Counted(4))
                    break

    def eject(patcher):
        for block in blocks():
            for place in [i for i, layer in enumerate(block) if isinstance(layer, Motion)][::-1]:
                del block[place]

    animated = model.clone()
    animated.set_injections("AnimateDiff", [PatcherInjection(inject=inject, eject=eject)])
    return animated, ran


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "injected first"])
@every_method
def test_the_hosts_own_injection_run_after_run(run, patch, ours_first):
    """AnimateDiff's order of events: inject when the model is loaded, eject when it is not, clones between, every run the first one's bits."""
    model = build(FAMILIES["SDXL"])
    expected, native = run(patch(model), LARGE), run(model, NATIVE)
    if ours_first:
        animated, ran = animate(patch(model))
    else:
        animated, ran = animate(model)
        animated = patch(animated)
    for each in (animated, animated, animated.clone()):
        ran.clear()
        assert torch.equal(run(each, LARGE), expected)
        assert len(ran) >= 2 * 16  # two steps
    assert torch.equal(run(animated, NATIVE), native)
    assert torch.equal(run(patch(model), LARGE), expected)  # ejected: the host changes from clone to clone
    assert not any(isinstance(layer, Motion) for layer in model.model.diffusion_model.modules())
    again, _ = animate(model)
    run(again, LARGE)
    assert torch.equal(run(patch(again), LARGE), expected)  # patched while modules are in the blocks


def test_an_error_while_injected_leaves_the_blocks_and_layers_alone(run):
    """Cancel in the middle of an animation, and the next run is another picture."""
    model = build(FAMILIES["SDXL"])
    expected = run(both(model), LARGE)
    animated, _ = animate(both(model))

    def fail(n, extra):
        raise RuntimeError("cancelled")

    broken = animated.clone()
    broken.set_model_attn2_output_patch(fail)
    with pytest.raises(RuntimeError, match="cancelled"):
        run(broken, LARGE)
    assert torch.equal(run(animated, LARGE), expected)
    assert torch.equal(run(both(model), LARGE), expected)
