"""The blend inside ComfyUI's samplers: each outer step starts from a state pulled towards the noised reference (P §3.1)."""

from math import prod
from typing import Any

import comfy.model_patcher
import comfy.samplers
import comfy.utils
import torch
import torch.nn.functional as F
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key

from ....freescale_core.blur import lowest_band
from ....freescale_core.detail import resize_map
from ....freescale_core.schedule import blend, blend_coefficient
from ..family import inpaints_with_noise, noise_of
from .plan import require_aspect
from .samplers import Pull, pulled

NAME = "FreeScale blend"


class BlendSampler(comfy.samplers.KSAMPLER):
    """A SAMPLER that runs `sampler` on a state blended with its own reference before each outer step (P §3.1).

    The host hands z and ε to `sample`. Another node's sampler that wraps this one calls its function alone, and not with them.
    `color_fix`, which needs them, also holds the colours of z. `film` is the shape of its latents where sound comes packed with
    them, which older hosts do not tell.
    """

    def __init__(
        self,
        sampler: comfy.samplers.KSAMPLER,
        detail: float,
        detail_map: torch.Tensor | None = None,
        color_fix: bool = False,
        film: torch.Size | None = None,
    ):
        def sample_freescale_blend(model, x, sigmas, extra_args=None, callback=None, disable=None):
            run = sampler if len(sigmas) < 2 else pulled(sampler, self._pull(*_asked_for(model, x, sigmas[:1], extra_args or {})))
            options = dict(extra_args=extra_args or {}, callback=callback, disable=disable)
            return run.sampler_function(model, x, sigmas, **options, **run.extra_options)

        super().__init__(sample_freescale_blend)
        self.sampler, self.detail, self.detail_map = sampler, detail, detail_map
        self.color_fix, self.film = color_fix, film

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask=None, disable_pbar=False
    ) -> torch.Tensor:
        """As the host's."""
        if self.color_fix:
            shape = self._shape(model_wrap.inner_model, latent_image)
            extra_args = {**extra_args, "model_options": _holding_colours(extra_args["model_options"], latent_image, shape)}
        run = self.sampler if len(sigmas) < 2 else pulled(self.sampler, self._pull(model_wrap.inner_model, latent_image, noise))
        return run.sample(model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)

    def _shape(self, base: Any, latent: torch.Tensor) -> torch.Size:
        """Of the picture's or film's latents; a sound is packed after them."""
        return self.film or (getattr(base, "latent_shapes", None) or [latent.shape])[0]

    def _pull(self, base: Any, reference: torch.Tensor, noise: torch.Tensor) -> Pull:
        """The blend (state, σ) → state for this run: z is the sampler's `latent_image`, ε its `noise`."""
        if not torch.count_nonzero(noise):
            raise ValueError(
                f"{NAME}: the noise is switched off, so there is no noised reference to hold the picture to. Add noise in the "
                "sampling node (RandomNoise instead of DisableNoise, add_noise enabled). After SplitSigmas, blend in the first "
                "part only and give the second an ordinary sampler"
            )
        law, alpha = noise_of(base.model_sampling, NAME), self.detail
        if self.detail_map is not None:
            shape = self._shape(base, noise)
            require_aspect("FreeScale Blend Sampler", self.detail_map, *shape[-2:])  # only here is the latent's size known
            alpha = resize_map(self.detail_map.float().cpu(), *shape[-2:]).to(noise.device)
            alpha = comfy.utils.repeat_to_batch_size(alpha, noise.shape[0])
            alpha = alpha.unflatten(1, [1] * (len(shape) - 3))  # a picture of a video model is a frame
            if shape != noise.shape:  # flat, and after the film
                alpha = alpha.expand(-1, *shape[1:]).flatten(1)
                alpha = F.pad(alpha, (0, noise.shape[-1] - alpha.shape[1]), value=self.detail)[:, None]

        def pull(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            z, eps = reference.to(x), noise.to(x)  # a latent may come in half precision; the sampler's state is float32
            return blend(x, law.noised(z, eps, sigma), blend_coefficient(law.timestep(float(sigma)), alpha))

        return pull


def _holding_colours(options: dict, reference: torch.Tensor, shape: torch.Size) -> dict:
    """Model options by which every prediction of the picture has the lowest band of the reference z, and the rest of its own."""
    count = prod(shape[1:])  # of a film's values; its sound comes after them

    def hold(args: dict[str, Any]) -> torch.Tensor:
        x = args["denoised"]
        change = lowest_band((reference.to(x) - x).flatten(1)[:, :count].unflatten(1, shape[1:])).flatten(1)
        return x + F.pad(change, (0, x[0].numel() - count)).view_as(x)

    options = comfy.model_patcher.create_model_options_clone(options)
    return comfy.model_patcher.set_model_options_post_cfg_function(options, hold)


def _asked_for(model: Any, x: torch.Tensor, sigma: torch.Tensor, extra_args: dict) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """(the network's model, z, ε) of a model that another node's sampler has wrapped, to rounding.

    Asked in the host's own words for inpainting: where nothing may be drawn (a mask of 0), its network is given the noised
    reference, and what comes out is the reference. The network itself need not run for that.
    """
    heard: dict[str, Any] = {}

    def listen(executor, base, conditions, noised, sigma, *_):
        heard.update(base=base, noised=noised, sigma=sigma.reshape(-1, *[1] * (noised.ndim - 1)))
        return [noised for _ in conditions]  # anything finite: what comes out is the reference

    options = comfy.model_patcher.create_model_options_clone(extra_args.get("model_options", {}))
    options.pop("denoise_mask_function", None)  # would open the mask
    add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, NAME, listen, options, is_model_options=True)
    asked = {**extra_args, "denoise_mask": torch.zeros_like(x), "model_options": options}
    reference = model(x, sigma.expand(x.shape[0]), **asked)
    if not heard or not inpaints_with_noise(heard["base"]):
        wrapper = getattr(model, "__qualname__", type(model).__name__).replace(".<locals>", "")
        raise ValueError(
            f"{NAME}: the sampler around it ({wrapper}) does not say what picture and noise it starts from. Wire it before "
            "FreeScale Blend Sampler, not after"
        )
    law, sigma = noise_of(heard["base"].model_sampling, NAME), heard["sigma"]
    nothing = torch.zeros_like(reference)
    noise = (heard["noised"] - law.noised(reference, nothing, sigma)) / law.noised(nothing, torch.ones_like(nothing), sigma)
    return heard["base"], reference, noise
