"""What a picture takes of the device's memory: less in the feed-forwards, and said before it is missing."""

from math import ceil, prod, sqrt
from typing import cast

import comfy.model_management
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock, FeedForward
from comfy.model_patcher import ModelPatcher

from ...freescale_core.geometry import ENLARGED_FROM, LATENT_CELL
from .errors import bad_input

# Feature maps of the U-Net's first width at the latent's size that are alive at once in its last blocks, at least.
FEATURE_MAPS = 10
SMALLEST_PART = 4096  # tokens: smaller parts of a feed-forward save nothing that counts


def lower_feed_forwards(patched: ModelPatcher, native: int) -> None:
    """Let each transformer's feed-forward work on parts of an enlarged picture: it widens the tokens tenfold, and was the peak.

    A part is never smaller than a picture that is not enlarged, which therefore goes through as before, and never
    depends on the memory that is free, nor do its bits. A feed-forward that another node changed is left alone.
    """
    tokens_at_once = max(SMALLEST_PART, int(ENLARGED_FROM * (native / LATENT_CELL) ** 2))
    for name, module in patched.get_model_object("diffusion_model").named_modules():
        if isinstance(module, BasicTransformerBlock):
            path = f"diffusion_model.{name}.ff.forward"
            forward = patched.get_model_object(path)
            if getattr(forward, "__func__", None) is FeedForward.forward:
                patched.add_object_patch(path, _in_parts(forward, tokens_at_once))


def _in_parts(forward, tokens_at_once: int):
    def in_parts(x):  # [B, n, C]
        parts = ceil(x.shape[1] / tokens_at_once)
        if parts == 1:
            return forward(x)
        out = torch.empty_like(x)
        for part, place in zip(x.chunk(parts, 1), out.chunk(parts, 1), strict=True):
            place.copy_(forward(part))
        return out

    return in_parts


def least_memory(model: ModelPatcher, batch: int, height: int, width: int) -> int:
    """Bytes that one call of the U-Net takes at least beside its weights, on `batch` pictures of height × width px."""
    base = model.model
    dtype = base.manual_cast_dtype or base.get_dtype()
    channels = base.model_config.unet_config["model_channels"]
    return FEATURE_MAPS * channels * dtype.itemsize * batch * (height // LATENT_CELL) * (width // LATENT_CELL)


def require_memory(node: str, stages: str, model: ModelPatcher, batch: int, sizes: list[tuple[int, int]]) -> None:
    """Refuse what the device cannot hold even when it is empty, and name the size that it may hold. Sizes are (height, width) px."""
    if comfy.model_management.directml_enabled:  # ComfyUI does not know how much such a device has
        return
    height, width = max(sizes, key=prod)
    least = least_memory(model, batch, height, width)
    total = cast(int, comfy.model_management.get_total_memory(model.load_device))
    if least <= total:
        return
    shrink = sqrt(total / least)
    fitting = "x".join(str(int(side * shrink) // LATENT_CELL * LATENT_CELL) for side in (width, height))
    raise bad_input(
        node,
        "stages",
        stages,
        f"{width}x{height} px{f', a batch of {batch},' if batch > 1 else ''} takes at least {in_words(least)} of memory beside the model, "
        f"and the device has {in_words(total)}. Up to {fitting} may fit"
        + (", or one picture instead of a batch" if batch > 1 else ""),
    )


def in_words(size: int) -> str:
    """A number of bytes as people read it: 340 MB, 1.7 GB."""
    return f"{size / 2**20:.0f} MB" if size < 2**30 else f"{size / 2**30:.1f} GB"
