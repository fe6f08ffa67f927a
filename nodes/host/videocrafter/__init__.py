"""VideoCrafter2 as ComfyUI's own MODEL, CLIP and VAE, from the released checkpoint."""

from typing import Any

import comfy.conds
import comfy.model_base
import comfy.model_management
import comfy.sd
import comfy.supported_models
import comfy.utils
import folder_paths
import torch
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..copies import tell_how_to_make
from ..temporal import BETWEEN_FRAMES
from .network import FIRST_HEADS, VideoCrafterUNet, host_names
from .sampling import VideoCrafterSampling

U_NET, TEXT_ENCODER, VAE = "model.diffusion_model.", "cond_stage_model.model.", "first_stage_model."  # of a checkpoint's names
NATIVE = 320, 512  # px
# Where the widths are read, and what no other U-Net has.
FIRST, BETWEEN = "input_blocks.0.0.weight", "init_attn.0.proj_in.weight"
PROMPT = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
MARKS = FIRST, PROMPT, BETWEEN, "fps_embedding.0.weight", "input_blocks.1.0.temopral_conv.conv1.0.weight"
UNUSED = "logit_scale", "text_projection.weight"  # of a text encoder
CHOOSE = "Choose VideoCrafter2's model.ckpt"
TOLD = 3  # names of weights, at most, that an error has


class _VideoCrafter2(comfy.supported_models.SD20):
    """SD 2's text encoder and latents."""

    unet_config: dict = {}
    unet_extra_config: dict = {"attn_precision": torch.float32}
    freescale_native = NATIVE


class _VideoCrafter(comfy.model_base.BaseModel):
    """The U-Net with its noise; all samples of a batch are the frames of one clip, as in the host's own video U-Net."""

    def __init__(self, config: Any, fps: int, device: torch.device):
        super().__init__(config, comfy.model_base.ModelType.EPS, device=device, unet_model=VideoCrafterUNet)
        self.model_sampling = VideoCrafterSampling()
        self.fps = fps

    def encode_adm(self, **kwargs) -> Tensor:
        return timestep_embedding(torch.tensor([self.fps]), self.adm_channels)

    def extra_conds(self, **kwargs) -> dict:
        frames = comfy.conds.CONDConstant(kwargs["noise"].shape[0])
        return {**super().extra_conds(**kwargs), "num_video_frames": frames}


def load_videocrafter(state_dict: dict[str, Tensor], fps: int) -> ModelPatcher:
    """The MODEL of a checkpoint by its own names; widths are read from it. `fps` is the speed that clips are drawn for.

    ValueError says what of VideoCrafter2's U-Net is missing, or what else is there.
    """
    given = {name.removeprefix(U_NET): weight for name, weight in state_dict.items() if name.startswith(U_NET)}
    _require(MARKS, given)
    config = _VideoCrafter2(_structure(given))
    parameters = sum(weight.numel() for weight in given.values())
    device, dtypes = comfy.model_management.get_torch_device(), config.supported_inference_dtypes
    dtype = comfy.model_management.unet_dtype(
        model_params=parameters, supported_dtypes=dtypes, weight_dtype=comfy.utils.weight_dtype(given)
    )
    config.set_inference_dtype(dtype, comfy.model_management.unet_manual_cast(dtype, device, dtypes))
    offload = comfy.model_management.unet_offload_device()
    model = _VideoCrafter(config, fps, offload)
    weights, own = host_names(given), model.diffusion_model.state_dict()
    _require(own, weights)
    _refuse("U-Net has also", [name for name in weights if name not in own])
    _refuse("U-Net has other sizes of", [name for name in own if own[name].shape != weights[name].shape])
    model.diffusion_model.load_state_dict(weights)
    patcher = ModelPatcher(model, device, offload)
    patcher.set_model_patch(BETWEEN_FRAMES, "forward_timestep_embed_patch")
    return patcher


def checkpoints() -> list[str]:
    """Files in ComfyUI's folders of checkpoints."""
    return folder_paths.get_filename_list("checkpoints")


def load_checkpoint(name: str, fps: int) -> tuple[ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """MODEL, CLIP and VAE of one of them, read without running any code in it; ValueError as `load_videocrafter`."""
    weights = _read(name)
    for prefix, part in ((U_NET, "U-Net"), (TEXT_ENCODER, "text encoder"), (VAE, "VAE")):
        if not any(name.startswith(prefix) for name in weights):
            raise ValueError(f"it has no {part} ({prefix}…). {CHOOSE}")
    model, vae = load_videocrafter(weights, fps), _vae(weights)
    tell_how_to_make(model, lambda: load_videocrafter(_read(name), fps))
    tell_how_to_make(vae.patcher, lambda: _vae(_read(name)).patcher)
    return model, _text_encoder(weights), vae


def _read(name: str) -> dict[str, Tensor]:
    path = folder_paths.get_full_path_or_raise("checkpoints", name)
    return comfy.utils.load_torch_file(path, safe_load=True)  # type: ignore[return-value]


def _text_encoder(weights: dict[str, Tensor]) -> comfy.sd.CLIP:
    config = _VideoCrafter2({})
    own = config.process_clip_state_dict(dict(weights))
    folders = folder_paths.get_folder_paths("embeddings")
    clip = comfy.sd.CLIP(config.clip_target(), embedding_directory=folders, parameters=sum(w.numel() for w in own.values()))
    missing, _ = clip.load_sd(own, full_model=True)
    _refuse("text encoder lacks", [name for name in missing if not name.endswith(UNUSED)])
    return clip


def _vae(weights: dict[str, Tensor]) -> comfy.sd.VAE:
    return comfy.sd.VAE(sd={name.removeprefix(VAE): weight for name, weight in weights.items() if name.startswith(VAE)})


def _structure(weights: dict[str, Tensor]) -> dict:
    """SD 2's U-Net, as wide as these weights are."""
    width = weights[FIRST].shape[0]
    return dict(
        image_size=32, in_channels=4, out_channels=4, model_channels=width, num_res_blocks=[2] * 4, channel_mult=[1, 2, 4, 4],
        transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0], transformer_depth_output=[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        transformer_depth_middle=1, num_heads=-1, num_head_channels=weights[BETWEEN].shape[0] // FIRST_HEADS,
        context_dim=weights[PROMPT].shape[1], use_spatial_transformer=True, use_linear_in_transformer=True, legacy=False,
        num_classes="sequential", adm_in_channels=width,
    )  # fmt: skip


def _require(names: Any, weights: dict[str, Tensor]) -> None:
    _refuse("U-Net lacks", [name for name in names if name not in weights])


def _refuse(problem: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
        raise ValueError(f"its {problem} {', '.join(names[:TOLD])}{more}. {CHOOSE}")
