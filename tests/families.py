"""Every model family that FreeScale works with, as real ComfyUI models: the true block structure, narrow and random."""

import math
from collections import Counter
from dataclasses import dataclass, field

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ldm.modules.attention
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models as hosts
import comfy.t2i_adapter.adapter
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from freescale.nodes.host.family import family_of
from freescale.nodes.patches.restrained_dilation import RestrainedDilation
from freescale.nodes.patches.scale_fusion import ScaleFusionAttentionPatch

NATIVE = 128  # px: small enough that an enlarged picture is still quick
POOLED = 16

# FreeU needs the widths 4× and 2× model_channels to exist, GroupNorm 32 channels.
COMMON = dict(image_size=32, in_channels=4, out_channels=4, model_channels=32, use_spatial_transformer=True, legacy=False)
XL = dict(
    **COMMON, num_res_blocks=[2, 2, 2], channel_mult=[1, 2, 4], num_heads=-1, num_head_channels=16, use_linear_in_transformer=True,
    transformer_depth=[0, 0, 1, 1, 1, 1], transformer_depth_output=[0, 0, 0, 1, 1, 1, 1, 1, 1], transformer_depth_middle=1,
    context_dim=32, adm_in_channels=POOLED + 6 * 256, num_classes="sequential",
)  # fmt: skip
KOALA = {**XL, "num_res_blocks": [1, 1, 1], "transformer_depth": [0, 1, 1], "transformer_depth_output": [0, 0, 1, 1, 1, 1]}
V1 = dict(
    **COMMON, num_res_blocks=[2, 2, 2, 2], channel_mult=[1, 2, 4, 4], num_heads=8, num_head_channels=-1,
    use_linear_in_transformer=False, transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0],
    transformer_depth_output=[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], transformer_depth_middle=1, context_dim=768,
)  # fmt: skip
V2 = {**V1, "num_heads": -1, "num_head_channels": 16, "use_linear_in_transformer": True, "context_dim": 1024}
SVD = {
    **V2, "in_channels": 8, "adm_in_channels": 768, "num_classes": "sequential", "extra_ff_mix_layer": True, "use_spatial_context": True,
    "merge_strategy": "learned_with_images", "merge_factor": 0.0, "video_kernel_size": [3, 1, 1], "use_temporal_resblock": True,
    "use_temporal_attention": True, "disable_temporal_crossattention": False,
}  # fmt: skip
REFINER = {
    **V2, "transformer_depth": [0, 0, 1, 1, 1, 1, 0, 0], "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "context_dim": 32, "adm_in_channels": POOLED + 5 * 256, "num_classes": "sequential",
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """One row: the host's class and the structure of its U-Net."""

    name: str
    host: type
    unet: dict
    native: int | tuple[int, int]  # px of a side, or (height, width), what the pack is to detect
    self_attentions: int
    dilated: tuple[str, ...]  # what the FreeScale preset is to find, by walking
    marks: dict = field(default_factory=dict)  # keys of a checkpoint that tell the host how the model predicts
    schedule: dict = field(default_factory=dict)  # a stage's settings, where three ddim_uniform steps leave none of much noise

    @property
    def lora(self) -> tuple[str, ...]:
        """Layers for a LoRA to change: a self-attention, a cross-attention and a convolution that is dilated."""
        block = "input_blocks.4.1.transformer_blocks.0"
        return f"{block}.attn1.to_q", f"{block}.attn2.to_v", self.dilated[0]


def deepest(op: int, blocks: tuple[int, ...], middle: tuple[int, ...]) -> tuple[str, ...]:
    """Names of a downsampler and of the two convolutions in each ResBlock after it and in the middle."""
    places = [f"input_blocks.{i}.0" for i in blocks] + [f"middle_block.{i}" for i in middle]
    return (f"input_blocks.{op}.0.op", *(f"{place}.{part}" for place in places for part in ("in_layers.2", "out_layers.3")))


LEVELS_3 = deepest(6, (7, 8), (0, 2))
LEVELS_4 = deepest(9, (10, 11), (0, 2))
ONE = torch.tensor(1.0)

FAMILIES = {
    family.name: family
    for family in (
        Family("SDXL", hosts.SDXL, XL, 1024, 11, LEVELS_3),
        Family("SSD-1B, Vega", hosts.SSD1B, {**XL, "transformer_depth_middle": -1}, 1024, 10, deepest(6, (7, 8), (0,))),
        Family("KOALA-700M", hosts.KOALA_700M, {**KOALA, "transformer_depth_middle": -2}, 1024, 6, deepest(4, (5,), ())),
        Family("KOALA-1B", hosts.KOALA_1B, {**KOALA, "transformer_depth_middle": 1}, 1024, 7, deepest(4, (5,), (0, 2))),
        Family("SDXL inpainting", hosts.SDXL, {**XL, "in_channels": 9}, 1024, 11, LEVELS_3),
        Family("SDXL v-prediction", hosts.SDXL, XL, 1024, 11, LEVELS_3, {"v_pred": ONE}),
        Family("SDXL v, zero SNR", hosts.SDXL, XL, 1024, 11, LEVELS_3, {"v_pred": ONE, "ztsnr": ONE}),
        Family("SDXL EDM (Playground 2.5)", hosts.SDXL, XL, 1024, 11, LEVELS_3, {"edm_mean": ONE, "edm_std": ONE}),
        Family("SDXL v-EDM (CosXL)", hosts.SDXL, XL, 1024, 11, LEVELS_3, {"edm_vpred.sigma_max": 120 * ONE}),
        Family("SDXL refiner", hosts.SDXLRefiner, REFINER, 1024, 11, LEVELS_4),
        Family("SD 1.5", hosts.SD15, V1, 512, 16, LEVELS_4),
        Family("SD 2 base", hosts.SD20, V2, 512, 16, LEVELS_4),
        Family(
            "SD 2 v", hosts.SD20, V2, 768, 16, LEVELS_4,
            {"output_blocks.11.1.transformer_blocks.0.norm1.bias": torch.tensor([-1.0, 1.0])},
        ),
        Family("Stable Video Diffusion", hosts.SVD_img2vid, SVD, (576, 1024), 16, LEVELS_4, schedule={"scheduler": "karras", "steps": 8}),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Graph:
    """What is wired into a sampler, and for which family."""

    family: Family
    model: comfy.model_patcher.ModelPatcher
    positive: list
    negative: list
    latent: dict


def random(*shape: int, seed: int = 6) -> torch.Tensor:
    """The same noise on every call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fill(module: torch.nn.Module, seed: int) -> None:
    """ComfyUI's layers leave their weights as they find the memory: give every parameter a value."""
    device = next(module.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator, device=device)
        if parameter.ndim > 1:
            noise /= parameter[0].numel() ** 0.5  # keeps the size of activations
        elif "norm" in name or name.endswith(("layers.0.weight", "out.0.weight")):
            noise = float(name.endswith("weight")) + 0.1 * noise
        else:
            noise *= 0.1
        parameter.data.copy_(noise)


def configured(
    host: type, unet: dict, dtype: torch.dtype = torch.float32, native: int | None = NATIVE, computes: torch.dtype = torch.float32
):
    """The host's configuration of a model, as its loader would make it; `native` None leaves it to the pack."""
    small = type("Small" + host.__name__, (host,), {"unet_config": {}, "unet_extra_config": {}, "freescale_native": native})
    config = small(unet)
    config.set_inference_dtype(dtype, None if dtype == computes else computes)
    return config


def patcher(base: torch.nn.Module) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of it."""
    base.eval().requires_grad_(False)
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(base, device, comfy.model_management.unet_offload_device())


def build(
    family: Family, dtype: torch.dtype = torch.float32, native: int | None = NATIVE, computes: torch.dtype = torch.float32, operations=None,
    **unet,
):  # fmt: skip
    """A MODEL of a family; the same weights for every dtype, but for its rounding."""
    config = configured(family.host, {**family.unet, **unet}, dtype, native, computes)
    config.custom_operations = operations
    base = config.get_model(family.marks, device="cpu")
    fill(base.diffusion_model, 1)
    return patcher(base)


def vae(structure: dict, dtype: torch.dtype) -> comfy.sd.VAE:
    """The host's VAE of such an autoencoder, with weights of its own."""
    shape = {"ddconfig": structure, "embed_dim": structure["z_channels"]}
    network = AutoencoderKL(**shape)
    fill(network, 5)
    return comfy.sd.VAE(sd=network.state_dict(), config={"params": shape}, dtype=dtype)


def conditioning(family: Family, seed: int, **values) -> list:
    """A prompt of random tokens [1, 7, C]."""
    tokens, pooled = random(1, 7, family.unet["context_dim"], seed=seed), random(1, POOLED, seed=seed)
    return [[tokens, {"pooled_output": pooled, **values}]]


def graph(family: Family, **built) -> Graph:
    """The family's model with two prompts and the latent of a native picture."""
    prompts = (conditioning(family, seed) for seed in (1, 2))
    return Graph(family, build(family, **built), *prompts, {"samples": random(1, 4, NATIVE // 8, NATIVE // 8)})


def controlnet(family: Family) -> comfy.controlnet.ControlNet:
    """ComfyUI's own ControlNet for it."""
    unet = {k: v for k, v in family.unet.items() if k not in ("out_channels", "transformer_depth_output")}
    network = comfy.cldm.cldm.ControlNet(
        **unet, hint_channels=3, dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init
    )
    fill(network, 3)
    return comfy.controlnet.ControlNet(network, load_device=comfy.model_management.get_torch_device())


def t2i_adapter(family: Family) -> comfy.controlnet.T2IAdapter:
    """SDXL's adapter joins at two levels of size 1/2 and 1/4, SD 1.5's at four of 1 … 1/8."""
    xl = len(family.unet["channel_mult"]) == 3
    network = comfy.t2i_adapter.adapter.Adapter([32, 64, 128, 128], 2, 768 if xl else 192, 1, True, False, xl)
    fill(network, 3)
    return comfy.controlnet.T2IAdapter(network, network.input_channels, 8, "nearest-exact")


def host_node(node, *inputs, **named):
    """What a node of the host gives, whether this host has it as an old node or as a new one."""
    output = (getattr(node, "execute", None) or getattr(node(), node.FUNCTION))(*inputs, **named)
    return getattr(output, "args", output)


def watched(model) -> tuple[comfy.model_patcher.ModelPatcher, dict]:
    """A clone that records its self-attentions: (layer → ((h, w) of the largest grid, how many samples had how many tokens))."""
    patched, seen = model.clone(), {}

    def observer(layer):
        def replacement(q, k, v, extra):
            grid, tokens = seen.get(layer, ((0, 0), Counter()))
            tokens[q.shape[1]] += q.shape[0]
            seen[layer] = (max(grid, tuple(extra["activations_shape"][-2:]), key=math.prod), tokens)
            attend = comfy.ldm.modules.attention.optimized_attention
            return attend(q, k, v, extra["n_heads"], attn_precision=extra["attn_precision"])

        return replacement

    for layer in family_of(model).attention_layers():
        patched.set_model_attn1_replace(observer(layer), *layer)
    return patched, seen


def with_scale_fusion(model, **changed):
    """The MODEL under the pack's node, by its defaults."""
    settings = dict(
        global_attention="full", blur_axes="hw", jitter=True, seed=0, native_size=0, start_percent=0.0, end_percent=1.0, blocks="all"
    )  # fmt: skip
    return ScaleFusionAttentionPatch.execute(model, **{**settings, **changed}).args[0]


def with_dilation(model, **changed):
    """The MODEL under the pack's node, by its defaults."""
    settings = dict(preset="FreeScale", factor=0.0, end_percent=0.7, layers="down, middle", native_size=0)
    return RestrainedDilation.execute(model, **{**settings, **changed}).args[0]
