"""Other nodes beside FreeScale, each wired as people wire it, by the host's own node where it has one: a table and what holds for each row."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import comfy.gligen
import comfy.ldm.modules.attention
import families
import folder_paths
import pytest
import safetensors.torch
import torch
from comfy_extras import (
    nodes_differential_diffusion,
    nodes_easycache,
    nodes_freelunch,
    nodes_hooks,
    nodes_hypertile,
    nodes_model_advanced,
    nodes_model_downscale,
    nodes_pag,
    nodes_rope,
    nodes_sag,
    nodes_tomesd,
)
from dits import KINDS, maker
from families import FAMILIES, Graph, host_node

import nodes

UNETS = "SDXL", "SD 1.5"
FLUX = "FLUX.1"
ALL, FLUX_FIRST = (*UNETS, FLUX), (FLUX, *UNETS)  # the first is quickly tried in every run of the tests; so is FLUX.1


@dataclass(frozen=True)
class Neighbour:
    """One row: how to wire it, and what a person is told where it cannot take part fully."""

    name: str
    wire: Callable[[Graph], Graph]
    warns: str = ""
    note: str = ""
    acts_on: tuple[str, ...] = UNETS


def on_model(node: type, *settings) -> Callable[[Graph], Graph]:
    """A row that only changes the MODEL, by a node of the host."""
    return lambda g: replace(g, model=host_node(node, g.model, *settings)[0])


# ---------------------------------------------------------------- weights


def lora_file(g: Graph) -> str:
    """A LoRA on disk."""
    name = f"freescale_matrix_{g.family.name}.safetensors"
    weights = {}
    for number, layer in enumerate(g.family.lora):
        shape = g.model.model.state_dict()[f"diffusion_model.{layer}.weight"].shape
        key = "lora_unet_" + layer.replace(".", "_")
        weights[key + ".lora_up.weight"] = families.random(shape[0], 4, *(1 for _ in shape[2:]), seed=number)
        weights[key + ".lora_down.weight"] = 0.1 * families.random(4, *shape[1:], seed=9 + number)
    safetensors.torch.save_file(weights, f"{folder_paths.get_folder_paths('loras')[0]}/{name}")
    folder_paths.filename_list_cache.pop("loras", None)
    return name


def lora(g: Graph) -> Graph:
    return replace(g, model=nodes.LoraLoaderModelOnly().load_lora_model_only(g.model, lora_file(g), 0.8)[0])


def scheduled_lora(g: Graph) -> Graph:
    """A LoRA as a hook of the prompt, strong in the first half only."""
    [hooks] = nodes_hooks.CreateHookLoraModelOnly().create_hook_model_only(lora_file(g), 1.0)
    [keys] = nodes_hooks.CreateHookKeyframe().create_hook_keyframe(1.0, 0.0)
    [keys] = nodes_hooks.CreateHookKeyframe().create_hook_keyframe(0.3, 0.5, keys)
    [hooks] = nodes_hooks.SetHookKeyframes().set_hook_keyframes(hooks, keys)
    positive = nodes_hooks.ConditioningSetProperties().set_properties(g.positive, 1.0, "default", hooks=hooks)[0]
    return replace(g, positive=positive)


# ---------------------------------------------------------------- guidance pictures


def controlled(g: Graph, control) -> Graph:
    hint = families.random(1, 128, 128, 3).abs().clamp(0, 1)
    positive, negative = nodes.ControlNetApplyAdvanced().apply_controlnet(g.positive, g.negative, control, hint, 0.7, 0.0, 0.9)
    return replace(g, positive=positive, negative=negative)


def controlnet(g: Graph) -> Graph:
    return controlled(g, maker(g.family).controlnet(g.family))


def t2i_adapter(g: Graph) -> Graph:
    return controlled(g, families.t2i_adapter(g.family))


def ip_adapter(g: Graph) -> Graph:
    """As its packs do: further keys and values in one cross-attention, by replacement."""
    tokens = families.random(1, 4, g.family.unet["context_dim"])
    patched = g.model.clone()
    layer = patched.get_model_object("diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2")

    def replacement(q, k, v, extra):
        attend = comfy.ldm.modules.attention.optimized_attention
        picture = tokens.expand(q.shape[0], -1, -1)
        return attend(q, k, v, extra["n_heads"]) + attend(q, layer.to_k(picture), layer.to_v(picture), extra["n_heads"])

    patched.set_model_attn2_replace(replacement, "input", 4)
    return replace(g, model=patched)


class _Gligen:
    """What the host's loader of GLIGEN returns: something with the network as `model`."""

    def __init__(self, network):
        self.model = network

    def model_patches_to(self, device):
        pass


def gligen(g: Graph) -> Graph:
    """A phrase placed in a box, in every transformer."""
    widths = [
        m.norm1.normalized_shape[0]
        for m in g.model.model.diffusion_model.modules()
        if type(m).__name__ == "BasicTransformerBlock"
    ]
    fusers = [comfy.gligen.GatedSelfAttentionDense(width, 32, 4, width // 4) for width in widths]
    network = comfy.gligen.Gligen(fusers, comfy.gligen.PositionNet(16, 32), 16)
    families.fill(network, 3)
    patcher = families.patcher(network)
    box = ("position", patcher, [(families.random(1, 16), 8, 8, 2, 4)])
    return replace(g, positive=[[tokens, {**more, "gligen": box}] for tokens, more in g.positive])


# ---------------------------------------------------------------- attention and steps


def rounded_attention(g: Graph) -> Graph:
    """As the packs of Sage Attention do: queries and keys of few bits, by the host's override."""
    patched = g.model.clone()

    def override(func, q, k, v, *args, **kwargs):
        return func(q.mul(4).round().div(4), k.mul(4).round().div(4), v, *args, **kwargs)

    patched.model_options["transformer_options"]["optimized_attention_override"] = override
    return replace(g, model=patched)


def kept_answers(g: Graph) -> Graph:
    """As the packs of TeaCache do: every second answer of a run is the one before, by the host's single wrapper around a model."""
    patched, kept = g.model.clone(), {}

    def wrapper(apply, call):
        prompts, sigma = tuple(call["cond_or_uncond"]), float(call["timestep"][0])
        before = kept.pop(prompts, None)
        if before and sigma < before[0]:
            return before[1]
        kept[prompts] = sigma, apply(call["input"], call["timestep"], **call["c"])
        return kept[prompts][1]

    patched.set_model_unet_function_wrapper(wrapper)
    return replace(g, model=patched)


# ---------------------------------------------------------------- regions


def half(h: int = 128, w: int = 128) -> torch.Tensor:
    mask = torch.zeros(1, h, w)
    mask[..., w // 2 :] = 1
    return mask


def two_prompts(g: Graph, limit: Callable) -> Graph:
    """The prompt for the whole, and another one for a region."""
    [regional] = limit([[tokens.flip(-1), more] for tokens, more in g.positive])
    return replace(g, positive=nodes.ConditioningCombine().combine(g.positive, regional)[0])


def masked_prompt(g: Graph) -> Graph:
    return two_prompts(g, lambda prompt: nodes.ConditioningSetMask().append(prompt, half(), "default", 1.0))


def area_prompt(g: Graph) -> Graph:
    return two_prompts(g, lambda prompt: nodes.ConditioningSetAreaPercentage().append(prompt, 0.75, 0.75, 0.25, 0.0, 1.0))


def noise_mask(g: Graph) -> Graph:
    return replace(g, latent=nodes.SetLatentNoiseMask().set_mask(g.latent, half())[0])


def differential(g: Graph) -> Graph:
    ramp = torch.linspace(0, 1, 128).expand(1, 128, 128)
    latent = nodes.SetLatentNoiseMask().set_mask(g.latent, ramp)[0]
    return replace(g, latent=latent, model=host_node(nodes_differential_diffusion.DifferentialDiffusion, g.model)[0])


NEIGHBOURS = [
    Neighbour("LoRA", lora, acts_on=ALL),
    Neighbour("LoRA, scheduled by hooks", scheduled_lora, acts_on=ALL),
    Neighbour("ControlNet", controlnet, note="its own attention stays ComfyUI's", acts_on=ALL),
    Neighbour("T2I adapter", t2i_adapter),
    Neighbour("IP-Adapter (attn2 replacement)", ip_adapter),
    Neighbour("GLIGEN", gligen),
    Neighbour("FreeU", on_model(nodes_freelunch.FreeU, 1.1, 1.2, 0.6, 0.4)),
    Neighbour("FreeU_V2", on_model(nodes_freelunch.FreeU_V2, 1.3, 1.4, 0.9, 0.2)),
    Neighbour("Perturbed-Attention Guidance", on_model(nodes_pag.PerturbedAttentionGuidance, 3.0)),
    Neighbour("Self-Attention Guidance", on_model(nodes_sag.SelfAttentionGuidance, 0.5, 2.0)),
    Neighbour("RescaleCFG", on_model(nodes_model_advanced.RescaleCFG, 0.7)),
    Neighbour(
        "HyperTile",
        on_model(nodes_hypertile.HyperTile, 32, 2, 2, False),
        warns="HyperTile",
        note="tiled layers keep HyperTile's attention; with such small tiles all of SDXL's are",
    ),
    Neighbour(
        "Token merging (ToMe)",
        on_model(nodes_tomesd.TomePatchModel, 0.5),
        warns="ToMe",
        note="ToMe leaves SDXL alone; merged layers keep its attention",
        acts_on=("SD 1.5",),
    ),
    Neighbour(
        "Deep Shrink",
        on_model(nodes_model_downscale.PatchModelAddDownscale, 3, 2.0, 0.0, 0.35, True, "bicubic", "bicubic"),
        note="windows follow the shrunk layers",
    ),
    Neighbour("Attention override (Sage, Flash)", rounded_attention, acts_on=FLUX_FIRST),
    Neighbour("EasyCache", on_model(nodes_easycache.EasyCacheNode, 3.0, 0.0, 1.0, False), acts_on=FLUX_FIRST),
    Neighbour("LazyCache", on_model(nodes_easycache.LazyCacheNode, 3.0, 0.0, 1.0, False), acts_on=FLUX_FIRST),
    Neighbour("TeaCache (model wrapper)", kept_answers, acts_on=FLUX_FIRST),
    Neighbour(
        "ScaleROPE",
        on_model(nodes_rope.ScaleROPE, 0.5, 0.0, 0.5, 0.0, 1.0, 0.0),
        warns="ScaleROPE",
        note="windows are no longer native pictures: remove it",
        acts_on=(FLUX,),
    ),
    Neighbour("Regional prompt by mask", masked_prompt, acts_on=ALL),
    Neighbour("Regional prompt by area", area_prompt, note="an area is drawn as a picture of its own, as ComfyUI does", acts_on=ALL),
    Neighbour("Noise mask (inpainting)", noise_mask, acts_on=ALL),
    Neighbour("Differential Diffusion", differential, acts_on=ALL),
    Neighbour("ModelSamplingDiscrete", on_model(nodes_model_advanced.ModelSamplingDiscrete, "v_prediction", True)),
    Neighbour("ModelSamplingDiscrete, LCM", on_model(nodes_model_advanced.ModelSamplingDiscrete, "lcm", False)),
    Neighbour("ModelSamplingContinuousEDM", on_model(nodes_model_advanced.ModelSamplingContinuousEDM, "v_prediction", 120.0, 0.002)),
]  # fmt: skip


def unpatched(g: Graph) -> Graph:
    return g


def fused(g: Graph) -> Graph:
    return replace(g, model=families.with_scale_fusion(g.model))


def dilated(g: Graph) -> Graph:
    return replace(g, model=families.with_dilation(g.model))


def ours(g: Graph) -> Graph:
    return dilated(fused(g))


CASES = [
    pytest.param(neighbour, {**FAMILIES, **KINDS}[name], id=f"{neighbour.name}-{name}", marks=[pytest.mark.long] * (name not in (neighbour.acts_on[0], FLUX)))
    for neighbour in NEIGHBOURS
    for name in neighbour.acts_on
]  # fmt: skip


@pytest.mark.parametrize(("neighbour", "family"), CASES)
def test_works_in_both_orders(graph, draw, alone, publish, caplog, neighbour, family):
    """Each acts, none is lost, the order of the nodes does not matter, and the shared model stays what it was."""
    g = graph(family)
    plain, both = alone(g, unpatched), alone(g, ours)
    beside = neighbour.wire(g)
    together = draw(ours(beside))
    assert bool(caplog.messages) == bool(neighbour.warns) and all(neighbour.warns in message for message in caplog.messages)
    assert torch.equal(together, draw(neighbour.wire(ours(g))))
    assert not torch.allclose(together, both, atol=1e-3)  # the neighbour acts
    assert not family.dilated or not torch.allclose(together, draw(fused(beside)), atol=1e-3)  # dilation acts
    rests = torch.equal(together, draw(dilated(beside)))
    assert neighbour.warns if rests else not torch.allclose(together, draw(dilated(beside)), atol=1e-3)  # Scale Fusion acts
    assert torch.equal(draw(ours(beside), 128, 128), draw(beside, 128, 128))  # at the native size only the neighbour acts
    assert torch.equal(draw(g), plain)
    for name in ALL:
        cell = "dilation only, warns" if rests else "✓, warns" if neighbour.warns else "✓"
        if name == family.name or name not in neighbour.acts_on:
            publish("Beside other nodes", neighbour.name, name, cell if name == family.name else "–", note=neighbour.note)
