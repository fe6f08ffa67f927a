"""A pack beside ours, as artists have them: it hands on pictures in half precision, and wraps samplers as Detail Daemon does."""

import torch
from comfy.samplers import KSAMPLER

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def half(kind: str) -> type:
    """A node that gives what it gets, in 16 bits."""

    class Half:
        RETURN_TYPES, FUNCTION, CATEGORY = (kind,), "run", "neighbour"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"value": (kind,), "dtype": (list(DTYPES),)}}

        def run(self, value, dtype):
            dtype = DTYPES[dtype]
            return ({**value, "samples": value["samples"].to(dtype)} if isinstance(value, dict) else value.to(dtype),)

    return Half


def lied(model, x, sigmas, *, inner, factor, **kwargs):
    """How Detail Daemon, Lying Sigma and Multiply Sigmas are built: the model is told other noise levels than the sampler."""

    def lying(x, sigma, **extra_args):
        return model(x, torch.where(sigma > 1, sigma, sigma * factor), **extra_args)

    lying.inner_model = model.inner_model
    return inner.sampler_function(lying, x, sigmas, **kwargs, **inner.extra_options)


def lying(sampler, factor=0.9):
    return KSAMPLER(lied, {"inner": sampler, "factor": factor})


class Lying:
    """`lying` as a node."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("SAMPLER",), "run", "neighbour"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"sampler": ("SAMPLER",)}}

    def run(self, sampler):
        return (lying(sampler),)


NODE_CLASS_MAPPINGS = {"NeighbourLying": Lying, **{f"NeighbourHalf{kind}": half(kind) for kind in ("IMAGE", "MASK", "LATENT")}}
