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


class Lying:
    """The model is told a little less noise than there is."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("SAMPLER",), "run", "neighbour"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"sampler": ("SAMPLER",)}}

    def run(self, sampler):
        return (KSAMPLER(self.sample, {"inner": sampler}),)

    @staticmethod
    def sample(model, x, sigmas, *, inner, **kwargs):
        def lying(x, sigma, **extra_args):
            return model(x, sigma * 0.95, **extra_args)

        lying.inner_model = model.inner_model
        return inner.sampler_function(lying, x, sigmas, **kwargs, **inner.extra_options)


NODE_CLASS_MAPPINGS = {"NeighbourLying": Lying, **{f"NeighbourHalf{kind}": half(kind) for kind in ("IMAGE", "MASK", "LATENT")}}
