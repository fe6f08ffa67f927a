"""Whether a value is what an input takes: asked alike in every node, as ComfyUI checks what is typed, but not what is linked.

A link of the right type may still bring a picture of three dimensions or one that a broken VAE made, and nodes of any type
bring anything.
"""

import functools
import inspect
from collections.abc import Callable
from types import UnionType
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from .errors import bad_input
from .timer import Timer
from .types import DetailMap, SamplingTime, StagePictures

Check = Callable[[str, io.Input, Any], None]  # (node, the input as its schema declares it, value): ValueError where it is none

MOST_OPTIONS = 50  # that an error names: a folder may hold hundreds of files


def checked(execute: Callable) -> Callable:
    """A node's `execute` that refuses values which its own schema does not allow."""

    names = list(inspect.signature(execute).parameters)[1:]

    @functools.wraps(execute)
    def execute_checked(cls, *args, **inputs):
        schema, inputs = cls.define_schema(), dict(zip(names, args)) | inputs
        inputs = {name: value.item() if isinstance(value, np.generic) else value for name, value in inputs.items()}
        for declared in schema.inputs:
            if declared.id in inputs and not (inputs[declared.id] is None and _may_be_left_out(declared)):
                CHECKS[declared.io_type](schema.display_name, declared, inputs[declared.id])
        return execute(cls, **inputs)

    return execute_checked


def when_queued(validate: Callable) -> Callable:
    """A node's `validate_inputs` of several inputs, which raises what it refuses.

    It gets what is typed; a link is None until the node runs, and what nothing is wired to is not given. The host does not look
    at the inputs that are named there, and would tell a returned text once for each of them.
    """

    @functools.wraps(validate)
    def validate_typed(cls, **inputs):
        inputs = {name: value[0] if isinstance(value, list | tuple) else value for name, value in inputs.items()}
        schema = cls.define_schema()
        for declared in schema.inputs:
            if inputs.get(declared.id) is not None and declared.io_type != "STRING":  # texts are read by what asks for them
                CHECKS[declared.io_type](schema.display_name, declared, inputs[declared.id])
        validate(cls, **inputs)
        return True

    validate_typed.__signature__ = inspect.signature(validate)  # type: ignore[attr-defined]  # by which the host knows the inputs
    return validate_typed


def _may_be_left_out(declared: io.Input) -> bool:
    """A socket; the value of a widget is always there."""
    return declared.optional and not hasattr(declared, "default")


def _told(value: Any) -> Any:
    """What a person is told of a value: of one that is too large to be shown, its shape or what it is."""
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    return value if isinstance(value, str | int | float | None) else type(value).__name__


# ---------------------------------------------------------------- what is typed


def _number(kind: type | UnionType, words: str) -> Check:
    def check(node: str, declared: Any, value: Any) -> None:
        fits = isinstance(value, kind) and not isinstance(value, bool)
        if not (fits and declared.min <= value <= declared.max):  # where NaN is not either
            problem = f"it must be {words} from {declared.min} to {declared.max}. Change the value, or what is linked to it"
            raise bad_input(node, declared.id, _told(value), problem)

    return check


def _choice(node: str, declared: Any, value: Any) -> None:
    if not isinstance(value, str) or value not in declared.options:
        options = [str(option) for option in declared.options]
        more = f" and {len(options) - MOST_OPTIONS} more" if len(options) > MOST_OPTIONS else ""
        listed = f"it is not one of {', '.join(options[:MOST_OPTIONS])}{more}" if options else "there is nothing to choose"
        raise bad_input(node, declared.id, _told(value), f"{listed}. Change the value, or what is linked to it")


def _one_of(kind: type | UnionType, words: str) -> Check:
    def check(node: str, declared: io.Input, value: Any) -> None:
        if not isinstance(value, kind):
            raise bad_input(node, declared.id, _told(value), f"it must be {words}. Change the value, or what is linked to it")

    return check


# ---------------------------------------------------------------- what is linked


def _is(fits: Callable[[Any], bool], problem: str) -> Check:
    def check(node: str, declared: io.Input, value: Any) -> None:
        if not fits(value):
            raise bad_input(node, declared.id, _told(value), problem)

    return check


def _tensor(fits: Callable[[torch.Tensor], bool], shape: str, broken: str, within: Callable = lambda value: value) -> Check:
    def check(node: str, declared: io.Input, value: Any) -> None:
        tensor = within(value)
        if not isinstance(tensor, torch.Tensor) or not fits(tensor) or not tensor.numel():
            raise bad_input(node, declared.id, _told(value if tensor is None else tensor), shape)
        if not torch.isfinite(tensor).all():
            raise bad_input(node, declared.id, "NaN", broken)

    return check


def film_of(latent: Any) -> Any:
    """The samples of a LATENT, of a film with its sound those of the film; None where it holds none."""
    samples: Any = latent.get("samples") if isinstance(latent, dict) else None
    return samples.unbind()[0] if getattr(samples, "is_nested", False) else samples


def _is_conditioning(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_prompt(part) for part in value)


def _is_prompt(part: Any) -> bool:
    two = isinstance(part, list | tuple) and len(part) == 2
    return two and isinstance(part[0], torch.Tensor) and part[0].ndim == 3 and part[0].numel() > 0 and isinstance(part[1], dict)


def _is_pictures(value: Any) -> bool:
    parts = value if isinstance(value, list | tuple) else ()
    return bool(parts) and all(isinstance(part, torch.Tensor) and part.ndim == 4 for part in parts)


def _does(*names: str) -> Callable[[Any], bool]:
    """Whether a value can do these things: other packs give models and VAEs classes of their own."""
    return lambda value: all(callable(getattr(value, name, None)) for name in names)


def _conditioning(node: str, declared: io.Input, value: Any) -> None:
    _is(_is_conditioning, "it holds no prompt. Wire the output of CLIP Text Encode")(node, declared, value)
    if not all(torch.isfinite(tokens).all() for tokens, _ in value):
        raise bad_input(
            node, declared.id, "NaN", "the prompt has values that are not numbers. Look at the text encoder's precision"
        )


CHECKS: dict[str, Check] = {
    "INT": _number(int, "a whole number"),
    "FLOAT": _number(int | float, "a number"),
    "COMBO": _choice,
    "BOOLEAN": _one_of(bool | int, "true or false"),
    "STRING": _one_of(str, "a text"),
    "IMAGE": _tensor(
        lambda x: x.ndim == 4 and x.shape[-1] in (3, 4) and x.is_floating_point(),
        "a picture has the shape [batch, height, width, 3]. Convert a mask with MaskToImage",
        "the picture has values that are not numbers. Look for the node before it that makes a black or broken picture",
    ),
    "MASK": _tensor(
        lambda x: x.ndim in (2, 3),
        "a mask has the shape [batch, height, width]. Convert a picture with ImageToMask",
        "the mask has values that are not numbers. Look at the node that makes it",
    ),
    "LATENT": _tensor(
        lambda x: x.is_floating_point(),
        "it holds no latent. Wire the output of a sampler, VAE Encode or Empty Latent Image",
        "the latent has values that are not numbers. Look at the sampler before it, or its VAE precision",
        within=film_of,
    ),
    DetailMap.io_type: _tensor(
        lambda x: x.ndim == 3 and x.is_floating_point(),
        "it must hold one number per pixel. Make it with FreeScale Region Detail",
        "it has values that are not numbers. Make it with FreeScale Region Detail",
    ),
    "MODEL": _is(_does("clone", "get_model_object"), "it is no model. Wire the MODEL of a loader, or of a node that patches it"),
    "VAE": _is(
        lambda vae: _does("encode", "decode")(vae) and getattr(vae, "first_stage_model", vae) is not None,
        "there is no VAE in it, as in some checkpoints. Load one with Load VAE",
    ),
    "CONDITIONING": _conditioning,
    "SAMPLER": _is(_does("sample"), "it is no sampler. Wire the output of KSamplerSelect"),
    StagePictures.io_type: _is(_is_pictures, "these are not a cascade's pictures. Use FreeScale Cascade instead of its parts"),
    SamplingTime.io_type: _is(lambda value: isinstance(value, Timer), "it is no time. Wire the time of a FreeScale Timer"),
}
