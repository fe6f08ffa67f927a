"""Every family of flow-matching transformers: what is detected, and that the blend and Scale Fusion act at 2×."""

import comfy.sample
import comfy.samplers
import comfy.supported_models as hosts
import dits
import families
import pytest
import torch
from dits import KINDS
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.blend import BlendSampler

TABLE = "Transformers"
SIGMAS = torch.tensor([0.75, 0.5, 0.2, 0.0])
PUBLISHED = {name: kind for name, kind in KINDS.items() if name != "Krea 2"}  # hosts of 2026 have it: the README says so beside
KNOWN = {"SD 3": (hosts.SD3, dict(
    input_size=None, patch_size=2, in_channels=16, depth=1, num_patches=1024, adm_in_channels=16, pos_embed_max_size=32,
    pos_embed_scaling_factor=None, context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 64}},
))}  # fmt: skip


def stage(model, kind, side, sampler="euler"):
    """What a stage samples on a latent of that size."""
    z, words = dits.latent(kind, side, side), dits.prompt(kind)
    blended = BlendSampler(comfy.samplers.sampler_object(sampler), 2.0)
    noise = families.random(*z.shape, seed=3)
    out = comfy.sample.sample_custom(model, noise, 2.0, blended, SIGMAS, words, words, z, seed=5, disable_pbar=True)
    assert out.shape == z.shape and torch.isfinite(out).all()
    return out


@pytest.mark.parametrize("name", PUBLISHED)
def test_draws_an_enlarged_picture(publish, name):
    """In every preset, another one each; at the native size the host's bits."""
    kind = PUBLISHED[name]
    model = dits.build(kind)
    family = family_of(model)
    assert family.side_step == kind.cell * kind.patch and family.latent_channels == kind.channels
    plain, exact, fast = (stage(m, kind, 256) for m in (model, dits.fusion(model), dits.fusion(model, preset="Fast")))
    pictures = [plain, exact, fast, stage(dits.fusion(model, preset="Fast"), kind, 256, "dpmpp_2m")]
    assert all(not torch.allclose(a, b, rtol=1e-3) for i, a in enumerate(pictures) for b in pictures[:i])
    assert torch.equal(stage(dits.fusion(model), kind, 256), exact)
    assert torch.equal(stage(dits.fusion(model), kind, 128), stage(model, kind, 128))
    publish(TABLE, name, "Cascade", "✓")
    publish(TABLE, name, "Scale Fusion", "✓")


@pytest.mark.parametrize("name", KNOWN)
def test_draws_without_scale_fusion(publish, name):
    host, structure = KNOWN[name]
    model = families.patcher(families.configured(host, structure).get_model({}, ""))
    network = model.model.diffusion_model
    families.fill(network, 4)
    # A table, which the host leaves as it finds the memory.
    network.pos_embed.copy_(families.random(*network.pos_embed.shape))
    kind = dits.Kind("", structure)
    assert torch.equal(stage(dits.fusion(model), kind, 256), stage(model, kind, 256))
    publish(TABLE, name, "Cascade", "✓")
    publish(TABLE, name, "Scale Fusion", "rests, and says so")
