"""ComfyUI's samplers: which can be blended, and how each runs so that every outer step begins with the blend."""

import inspect
from collections.abc import Callable
from typing import Any

import comfy.samplers
import torch
from comfy.k_diffusion import sampling as k_diffusion
from tqdm.auto import trange

from ..errors import bad_input

NAMES, SCHEDULERS = comfy.samplers.KSampler.SAMPLERS, comfy.samplers.KSampler.SCHEDULERS
# Samplers whose steps know nothing of each other: run one interval at a time. The tables name those of every host.
ONE_STEP = (
    "euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "dpm_2", "dpm_2_ancestral",
    "dpmpp_2s_ancestral", "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "dpmpp_sde_gpu", "ddpm", "lcm", "seeds_2", "seeds_3",
    "exp_heun_2_x0", "exp_heun_2_x0_sde",
)  # fmt: skip
# Samplers with a history, which call the model once per step: blend the tensor they pass, in place.
MULTI_STEP = (
    "lms", "dpmpp_2m", "dpmpp_2m_cfg_pp", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu",
    "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ipndm", "ipndm_v", "deis", "res_multistep", "res_multistep_cfg_pp",
    "res_multistep_ancestral", "res_multistep_ancestral_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp", "er_sde",
)  # fmt: skip
# Samplers that plan over the whole run; by intervals they work, but differ from the host's even without a blend.
REPLANNED = ("heunpp2", "dpm_fast", "dpm_adaptive")
BROWNIAN = {"dpmpp_sde": True, "dpmpp_sde_gpu": False}  # name → whether its noise is drawn on the CPU

Pull = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (state, σ) → the state pulled to its reference


def require_blendable(sampler: Any, node: str, name: str) -> None:
    """Refuse the samplers that no exact blend is defined for (and one that already blends)."""
    for one in wrapped_in(sampler).values():
        require_blendable(one, node, name)
    if kind_of(sampler) not in ONE_STEP + MULTI_STEP + REPLANNED and not wrapped_in(sampler):
        own = sampler.sampler_function if type(sampler) is comfy.samplers.KSAMPLER else type(sampler)
        raise bad_input(
            node,
            name,
            kind_of(sampler) or getattr(own, "__name__", type(own).__name__),
            "the cascade's blend is not defined for this sampler, which scales or plans its state itself. Take euler, dpmpp_2m, "
            "dpmpp_2m_sde, res_multistep or another of the built-in samplers. A node that changes another sampler can be wired "
            "after FreeScale Blend Sampler",
        )


def kind_of(sampler: Any) -> str | None:
    """The name under which this host has the very same sampler, None where another pack made it; a ddim is an euler."""
    if type(sampler).sample is not comfy.samplers.KSAMPLER.sample:
        return None
    return next(
        (name for name in NAMES if _same(comfy.samplers.sampler_object(name).sampler_function, sampler.sampler_function)), None
    )


def _same(function: Callable, other: Callable) -> bool:
    """Whether they are one function; the host writes some of its own anew for each sampler, with nothing of it around them."""
    anew = all(getattr(f, "__closure__", f) is None for f in (function, other))
    return function is other or (anew and function.__code__ is other.__code__)


def wrapped_in(sampler: Any) -> dict[str, Any]:
    """The samplers that another one runs, by the name of its option: those of nodes like Detail Daemon Sampler."""
    own_way = type(sampler).sample is not comfy.samplers.KSAMPLER.sample
    options = {} if own_way else sampler.extra_options
    return {name: option for name, option in options.items() if isinstance(option, comfy.samplers.Sampler)}


def pulled(sampler: comfy.samplers.KSAMPLER, pull: Pull) -> comfy.samplers.KSAMPLER:
    """The sampler with `pull` before each outer step; one that wraps others has them do it.

    Inpainting noise is the start's own: ddim's other noise would be another reference.
    """
    wrapped = {name: pulled(one, pull) for name, one in wrapped_in(sampler).items()}
    if wrapped:
        return comfy.samplers.KSAMPLER(sampler.sampler_function, {**sampler.extra_options, **wrapped})
    kind, function = kind_of(sampler), sampler.sampler_function

    def sample_pulled(model, x, sigmas, extra_args=None, callback=None, disable=None, **options):
        extra_args = extra_args or {}
        if len(sigmas) < 2:  # no step to begin: the last part of a split schedule may have none
            return function(model, x, sigmas, extra_args=extra_args, callback=callback, disable=disable, **options)
        if kind in MULTI_STEP:
            return _whole(function, pull, model, x, sigmas, extra_args, callback, disable, options)
        options = _whole_run_options(function, kind, x, sigmas, extra_args, options)
        return _by_interval(function, pull, model, x, sigmas, extra_args, callback, disable, options)

    return comfy.samplers.KSAMPLER(sample_pulled, sampler.extra_options)


def _whole(function: Callable, pull: Pull, model, x, sigmas, extra_args: dict, callback, disable, options: dict):
    """Run a multi-step sampler as it is; its history survives because the blend happens on the tensor it owns."""
    blended = _BlendedModel(model, pull)
    return function(blended, x.clone(), sigmas, extra_args=extra_args, callback=callback, disable=disable, **options)


def _by_interval(function: Callable, pull: Pull, model, x, sigmas, extra_args: dict, callback, disable, options: dict):
    """Run a one-step sampler on [σ_i, σ_i+1] after each blend."""
    for i in trange(len(sigmas) - 1, disable=disable):
        numbered = callback and (lambda state, i=i: callback({**state, "i": i}))
        step = sigmas[i : i + 2]
        x = function(model, pull(x, sigmas[i]), step, extra_args=dict(extra_args), callback=numbered, disable=True, **options)
    return x


def _whole_run_options(function: Callable, kind: str | None, x, sigmas, extra_args: dict, options: dict) -> dict:
    """What a sampler derives from all of its sigmas: one stream of noise, and its churn per step."""
    options, seed = dict(options), extra_args.get("seed")
    if "noise_sampler" in inspect.signature(function).parameters and options.get("noise_sampler") is None:
        if kind in BROWNIAN:
            low, high = sigmas[sigmas > 0].min(), sigmas.max()
            options["noise_sampler"] = k_diffusion.BrownianTreeNoiseSampler(x, low, high, seed=seed, cpu=BROWNIAN[kind])
        else:
            options["noise_sampler"] = k_diffusion.default_noise_sampler(x, seed=seed)
    if options.get("s_churn"):
        options["s_churn"] = options["s_churn"] / (len(sigmas) - 1)
    return options


class _BlendedModel:
    """The sampler's model; blends the state it is called on before predicting from it."""

    def __init__(self, model, pull: Pull):
        self._model, self._pull = model, pull

    def __call__(self, x, sigma, **kwargs):
        x.copy_(self._pull(x, sigma.flatten()[0]))
        return self._model(x, sigma, **kwargs)

    def __getattr__(self, name):
        return getattr(self._model, name)
