"""Transformers as real ComfyUI models, narrow and random, and the pack's Scale Fusion on them."""

import sys
from dataclasses import dataclass, replace

import comfy.controlnet
import comfy.ldm.flux.controlnet
import comfy.ldm.flux.model
import comfy.model_management
import comfy.ops
import comfy.sample
import comfy.samplers
import comfy.supported_models as hosts
import families
import torch
from comfy.patcher_extension import WrappersMP
from freescale.nodes.patches.scale_fusion import ScaleFusionAttentionPatch

NATIVE = 128  # px
CONTEXT = 32  # channels of the text
FLUX = dict(
    image_model="flux", in_channels=16, out_channels=16, patch_size=2, vec_in_dim=16, context_in_dim=CONTEXT, hidden_size=64, mlp_ratio=2.0,
    num_heads=2, depth=1, depth_single_blocks=1, axes_dim=[8, 12, 12], theta=10000, qkv_bias=True, guidance_embed=True,
)  # fmt: skip
FLUX2 = {
    **FLUX, "image_model": "flux2", "in_channels": 128, "out_channels": 128, "patch_size": 1, "vec_in_dim": None, "axes_dim": [8, 8, 8, 8],
    "theta": 2000, "global_modulation": True, "mlp_silu_act": True, "qkv_bias": False, "ops_bias": False,
}  # fmt: skip
CHROMA = {
    key: value for key, value in FLUX.items() if key not in ("vec_in_dim", "guidance_embed")
} | dict(image_model="chroma", in_channels=64, out_channels=64, in_dim=64, hidden_dim=32, n_layers=1, out_dim=64)  # fmt: skip
ZIMAGE = dict(
    image_model="lumina2", dim=256, n_layers=1, n_heads=2, n_kv_heads=2, n_refiner_layers=1, in_channels=16, patch_size=2, qk_norm=True,
    cap_feat_dim=CONTEXT, axes_dims=[32, 48, 48], axes_lens=[1536, 512, 512], rope_theta=256.0, ffn_dim_multiplier=1.0,
    z_image_modulation=True, time_scale=1000.0, pad_tokens_multiple=32,
)  # fmt: skip
# Layers of the picture's own attention but one are left out: then a window is a native picture, to rounding.
ONE_LAYER = {"flux": dict(depth_single_blocks=0), "flux2": dict(depth_single_blocks=0), "chroma": dict(depth_single_blocks=0),
             "lumina2": dict(n_refiner_layers=0)}  # fmt: skip
QWEN = dict(
    image_model="qwen_image", num_layers=1, attention_head_dim=32, num_attention_heads=2, joint_attention_dim=CONTEXT, in_channels=64,
    out_channels=16, axes_dims_rope=(8, 12, 12),
)  # fmt: skip
WAN = dict(
    image_model="wan2.1", model_type="t2v", dim=64, ffn_dim=64, freq_dim=32, num_heads=2, num_layers=1, text_dim=CONTEXT, in_dim=16,
    out_dim=16, text_len=512, patch_size=(1, 2, 2),
)  # fmt: skip
LTX = dict(
    image_model="ltxv", in_channels=128, cross_attention_dim=104, attention_head_dim=26, num_attention_heads=4, caption_channels=CONTEXT,
    num_layers=1, causal_temporal_positioning=True,
)  # fmt: skip
LTX2 = {
    **LTX, "image_model": "ltxav", "rope_type": "split", "frequencies_precision": "float64", "use_middle_indices_grid": True,
    "audio_cross_attention_dim": 32, "audio_attention_head_dim": 8, "audio_num_attention_heads": 4, "connector_attention_head_dim": 8,
    "connector_num_attention_heads": 2, "connector_num_layers": 1,
}  # fmt: skip
ANIMA = dict(
    image_model="anima", in_channels=16, out_channels=16, max_img_h=240, max_img_w=240, max_frames=128, patch_spatial=2, patch_temporal=1,
    model_channels=64, num_heads=2, num_blocks=1, crossattn_emb_channels=1024, use_adaln_lora=True, adaln_lora_dim=16, pos_emb_cls="rope3d",
    rope_h_extrapolation_ratio=4.0, rope_w_extrapolation_ratio=4.0,
)  # fmt: skip
KREA = dict(
    image_model="krea2", features=64, tdim=32, txtdim=16, heads=4, kvheads=2, layers=1, txtlayers=2, txtheads=2, txtkvheads=2,
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One family: the host's class, its network, and what its latents are."""

    host: str
    unet: dict
    channels: int = 16
    cell: int = 8
    patch: int = 2
    frames: tuple[int, ...] = ()
    text: int = 7  # tokens
    context: int = CONTEXT
    lora: tuple[str, ...] = ()  # layers for a LoRA to change
    dilated: tuple[str, ...] = ()  # there is nothing to dilate
    rounding: float = 3e-5  # of the host's positions, of the largest value
    name: str = ""

    def size(self, side: int) -> int:
        """Cells of so many px."""
        return side // self.cell


KINDS = {
    name: replace(kind, name=name)
    for name, kind in {
        "FLUX.1": Kind("Flux", FLUX, lora=("double_blocks.0.img_attn.qkv", "single_blocks.0.linear2")),
        "FLUX.2": Kind("Flux2", FLUX2, channels=128, cell=16, patch=1),
        "Chroma": Kind("Chroma", CHROMA),
        "Z-Image": Kind("ZImage", ZIMAGE, text=21),
        "Qwen-Image": Kind("QwenImage", QWEN, frames=(1,)),
        "Wan": Kind("WAN21_T2V", WAN, frames=(3,)),
        "LTX-Video": Kind("LTXV", LTX, channels=128, cell=32, patch=1, frames=(3,), rounding=1e-3),
        "LTX-2": Kind("LTXAV", LTX2, channels=128, cell=32, patch=1, frames=(3,), context=2 * CONTEXT, rounding=1e-3),
        "Anima": Kind("Anima", ANIMA, frames=(1,), context=1024),
        "Krea 2": Kind("Krea2", KREA),
    }.items()
    if hasattr(hosts, kind.host)
}


if "txt_ids_dims" in comfy.ldm.flux.model.FluxParams.__annotations__:  # younger hosts say where the text has places
    FLUX["txt_ids_dims"], FLUX2["txt_ids_dims"] = [], [3]
    CHROMA |= dict(txt_ids_dims=[], vec_in_dim=None)


def maker(family: families.Family | Kind):
    """The module that makes models of it: families, or this one."""
    return families if isinstance(family, families.Family) else sys.modules[__name__]


def build(
    kind: Kind, one_layer: bool = False, dtype: torch.dtype = torch.float32, computes: torch.dtype = torch.float32, operations=None, **unet
):  # fmt: skip
    """A MODEL of it; the same weights every time, but for their rounding."""
    fewer = ONE_LAYER.get(kind.unet["image_model"], {}) if one_layer else {}
    config = families.configured(getattr(hosts, kind.host), {**kind.unet, **fewer, **unet}, dtype, NATIVE, computes)
    config.custom_operations = operations
    base = config.get_model({}, "")
    families.fill(base.diffusion_model, 4)
    for name, parameter in base.diffusion_model.named_parameters():
        if "norm" in name and name.endswith(("weight", "scale")):
            parameter.data.fill_(1.0)
        if name.endswith("modulation"):
            parameter.data.copy_(0.3 * parameter.float())  # of any dtype
    return families.patcher(base)


def prompt(kind: Kind, seed: int = 1, text: int | None = None) -> list:
    """A conditioning; the pooled vector where one is taken."""
    words = families.random(1, text or kind.text, kind.context, seed=seed)
    values = {"pooled_output": families.random(1, 16, seed=seed), "guidance": 3.5}
    if kind.host == "LTXV":  # which has to be told
        values["attention_mask"] = torch.ones(words.shape[:2], dtype=torch.long)
    return [[words, values]]


def graph(kind: Kind, **built) -> families.Graph:
    """Its model with two prompts and the latent of a native picture."""
    model, start = build(kind, **built), {"samples": latent(kind, NATIVE, NATIVE)}
    return families.Graph(kind, model, prompt(kind), prompt(kind, seed=2), start)


def controlnet(kind: Kind) -> comfy.controlnet.ControlNet:
    """ComfyUI's own for FLUX.1, as it loads XLabs' and MistoLine's."""
    settings = dict(dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init)
    network = comfy.ldm.flux.controlnet.ControlNetFlux(**kind.unet, **settings)
    families.fill(network, 3)
    device = comfy.model_management.get_torch_device()
    return comfy.controlnet.ControlNet(network, load_device=device, extra_conds=["y", "guidance"])


def latent(kind: Kind, height: int, width: int, seed: int = 9, batch: int = 1) -> torch.Tensor:
    """A latent of a picture in px."""
    return families.random(batch, kind.channels, *kind.frames, kind.size(height), kind.size(width), seed=seed)


def predicted(model, kind: Kind, x: torch.Tensor, sigma: float = 0.6, text: int | None = None, **more) -> torch.Tensor:
    """What the network makes of x, through the host's whole sampling path: one guided step's denoised latent."""
    seen = []
    watching = model.clone()

    def note(executor, noised, t, *args, **kwargs):
        seen.append(executor(x.to(noised), t, *args, **kwargs))
        return seen[-1]

    watching.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "a test", note)
    watching.wrappers[WrappersMP.APPLY_MODEL] = {  # outermost, so that everything else acts on x
        "a test": watching.wrappers[WrappersMP.APPLY_MODEL].pop("a test"), **watching.wrappers[WrappersMP.APPLY_MODEL],
    }  # fmt: skip
    words = prompt(kind, text=text)
    words = [[tokens, {**values, **more}] for tokens, values in words]
    sigmas = torch.tensor([sigma, 0.0])
    sampler = comfy.samplers.sampler_object("euler")
    comfy.sample.sample_custom(model=watching, noise=x, cfg=1.0, sampler=sampler, sigmas=sigmas, positive=words, negative=words,
                               latent_image=torch.zeros_like(x), disable_pbar=True, seed=1)  # fmt: skip
    return seen[0]


def fusion(model, **changed):
    """The pack's node with its defaults."""
    settings = dict(
        global_attention="full", blur_axes="hw", jitter=True, seed=0, native_size=0, start_percent=0.0, end_percent=1.0, blocks="all"
    )  # fmt: skip
    return ScaleFusionAttentionPatch.execute(model, **{**settings, **changed}).args[0]
