"""Every family of flow-matching transformers: what is detected, and that the blend and Scale Fusion act at 2×."""

import comfy.sample
import comfy.samplers
import dits
import families
import pytest
import torch
from comfy.ldm.hunyuan_video.model import HunyuanVideoParams
from dits import KINDS, Kind
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.blend import BlendSampler

TABLE = "Transformers"
SIGMAS = torch.tensor([0.75, 0.5, 0.2, 0.0])
OF_2026 = "Krea 2", "LTX-2", "Anima"  # hosts of that year have them: README and docs say so beside
PUBLISHED = {name: kind for name, kind in KINDS.items() if name not in OF_2026}
SINCE_2026 = {"meanflow_sum": False} if "meanflow_sum" in HunyuanVideoParams.__annotations__ else {}
KNOWN = {
    "SD 3": Kind("SD3", dict(
        input_size=None, patch_size=2, in_channels=16, depth=1, num_patches=1024, adm_in_channels=16, pos_embed_max_size=32,
        pos_embed_scaling_factor=None, context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 64}},
    )),
    "Hunyuan Image": Kind("HunyuanImage21", dict(
        image_model="hunyuan_video", in_channels=64, out_channels=64, patch_size=[1, 1], vec_in_dim=None, axes_dim=[16, 16], meanflow=False,
        context_in_dim=32, hidden_size=64, mlp_ratio=2.0, num_heads=2, depth=1, depth_single_blocks=1, theta=256, qkv_bias=True, byt5=False,
        guidance_embed=False, use_cond_type_embedding=False, vision_in_dim=None, **SINCE_2026,
    ), channels=64, cell=32, patch=1),
    "HiDream": Kind("HiDream", dict(
        image_model="hidream", patch_size=2, in_channels=16, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=32,
        num_attention_heads=2, caption_channels=[32, 32], text_emb_dim=16, axes_dims_rope=(8, 12, 12), llama_layers=[0, 0],
    )),
}  # fmt: skip


def stage(model, kind, side, sampler="euler"):
    """What a stage samples on a latent of that size."""
    z, words = dits.latent(kind, side, side), dits.prompt(kind)
    words[0][1]["conditioning_llama3"] = families.random(1, 1, 7, 32)  # HiDream's second text
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
    kind = KNOWN[name]
    model = dits.build(kind)
    network = model.model.diffusion_model
    if hasattr(network, "pos_embed"):  # SD 3's table, which the host leaves as it finds the memory
        network.pos_embed.copy_(families.random(*network.pos_embed.shape))
    assert family_of(model).side_step == kind.cell * kind.patch
    assert torch.equal(stage(dits.fusion(model), kind, 256), stage(model, kind, 256))
    publish(TABLE, name, "Cascade", "✓")
    publish(TABLE, name, "Scale Fusion", "rests, and says so")
