"""Restrained dilation on a MODEL.

Each chosen convolution gets an object patch, which ComfyUI removes when it unloads the clone; it reads its dilation
from a context variable that a wrapper sets for the length of one U-Net call. Without a value it is the convolution
that was there before. Weights come from the call, so LoRA and weight streaming stay right.
"""

from contextvars import ContextVar

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...freescale_core.dilation import dilated_conv2d
from .model import picture_enlargement, remember_native_size, running_sigma

KEY = "freescale_restrained_dilation"

_factors: ContextVar[dict[str, float]] = ContextVar("freescale_dilation_factors")


def with_restrained_dilation(
    model: ModelPatcher, strides: dict[str, tuple[int, int]], factor: float, end_percent: float, native_size: int
) -> ModelPatcher:
    """A clone of `model` whose convolutions (name → stride) are dilated while σ is above that of `end_percent`.

    `factor` 0 takes the running picture's enlargement; nothing is dilated at the native size or below.
    """
    patched = model.clone()
    remember_native_size(patched, native_size)
    enlarged = picture_enlargement(model, native_size)
    lowest = model.get_model_object("model_sampling").percent_to_sigma(end_percent)

    def around_unet(executor, x, timesteps, context, y, control, transformer_options, **kwargs):
        size = enlarged(*x.shape[-2:])
        sigma = running_sigma(transformer_options)
        if size is None or sigma is None or sigma < lowest:
            return executor(x, timesteps, context, y, control, transformer_options, **kwargs)
        token = _factors.set({**_factors.get({}), **dict.fromkeys(strides, factor or size.factor)})
        try:
            return executor(x, timesteps, context, y, control, transformer_options, **kwargs)
        finally:
            _factors.reset(token)

    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, around_unet)
    for name, stride in strides.items():
        path = f"diffusion_model.{name}._conv_forward"
        patched.add_object_patch(path, _conv_forward(name, stride, model.get_model_object(path)))
    return patched


def _conv_forward(name: str, stride: tuple[int, int], before):
    def conv_forward(input, weight, bias, **kwargs):
        factor = _factors.get({}).get(name)
        return before(input, weight, bias, **kwargs) if factor is None else dilated_conv2d(input, weight, bias, stride, factor)

    return conv_forward
