"""The blend inside ComfyUI's samplers: each outer step starts from a state pulled towards the noised reference (P §3.1)."""

import comfy.samplers
import comfy.utils
import torch

from ....freescale_core.detail import resize_map
from ....freescale_core.schedule import blend, blend_coefficient
from ..family import noise_of
from .plan import require_aspect
from .samplers import Pull, run_pulled


class BlendSampler(comfy.samplers.KSAMPLER):
    """A SAMPLER that runs `sampler` on a state blended with its own reference before each outer step (P §3.1).

    All of it is in the sampler function, so that nodes which wrap a SAMPLER's function wrap the blend too. Inpainting
    noise is the start's own: ddim's other noise would be another reference.
    """

    def __init__(self, sampler: comfy.samplers.KSAMPLER, detail: float, detail_map: torch.Tensor | None = None):
        def sample_freescale_blend(model, x, sigmas, extra_args=None, callback=None, disable=None, **options):
            if len(sigmas) < 2:  # no step to blend: the last part of a split schedule may have none
                return sampler.sampler_function(
                    model, x, sigmas, extra_args=extra_args, callback=callback, disable=disable, **options
                )
            pull = _pull(model, detail, detail_map)
            return run_pulled(sampler, pull, model, x, sigmas, extra_args or {}, callback, disable, options)

        super().__init__(sample_freescale_blend, sampler.extra_options)


def _pull(model, detail: float, detail_map: torch.Tensor | None) -> Pull:
    """The blend (state, σ) → state for this run: z is the sampler's `latent_image`, ε its `noise`."""
    reference, noise = (getattr(model, name, None) for name in ("latent_image", "noise"))
    if reference is None or noise is None or not torch.count_nonzero(noise):
        raise ValueError(
            "FreeScale blend: the noise is switched off, so there is no noised reference to hold the picture to. "
            "Add noise in the sampling node (RandomNoise instead of DisableNoise, add_noise enabled). After SplitSigmas, blend "
            "in the first part only and give the second an ordinary sampler"
        )
    law, alpha = noise_of(model.inner_model.inner_model.model_sampling, "FreeScale blend"), detail
    if detail_map is not None:
        require_aspect("FreeScale Blend Sampler", detail_map, *noise.shape[-2:])  # only here is the latent's size known
        alpha = resize_map(detail_map.float().cpu(), *noise.shape[-2:]).to(noise.device)
        alpha = comfy.utils.repeat_to_batch_size(alpha, noise.shape[0])

    def pull(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        z, eps = reference.to(x), noise.to(x)  # a latent may come in half precision; the sampler's state is float32
        return blend(x, law.noised(z, eps, sigma), blend_coefficient(law.timestep(float(sigma)), alpha))

    return pull
