"""The calls of a model on an enlarged picture, which every method begins with."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....freescale_core.geometry import Enlargement
from ..family import Family, give_native_size, running_family
from .fallbacks import fallbacks_said_once

_lock = threading.Lock()
_uncompiled_calls, _stance = 0, ExitStack()
_replacements: WeakKeyDictionary[torch.nn.Module, dict[str, list]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Call:
    """One call of the running model on an enlarged picture, as ComfyUI's apply_model gets it."""

    family: Family  # of the model that runs, which may be a copy of the one that was patched
    enlarged: Enlargement
    execute: Callable[..., Tensor]  # what else is wrapped around the model, and the model
    x: Tensor  # the noised latent, of `shape`
    t: Tensor  # σ, [B]
    c_concat: Tensor | None
    c_crossattn: Tensor | None
    control: Any
    options: dict  # transformer_options
    conditions: dict[str, Any]  # everything else, by name

    @property
    def shape(self) -> torch.Size:
        """[B, C, (T,) h, w] of the latent; of one that comes flat, as films with their sound do, the film's."""
        return _latent_shape(self.x, self.conditions)

    @cached_property
    def sigma(self) -> float:
        """σ of the call."""
        return float(self.t.flatten()[0])

    def run(self, **changed) -> Tensor:
        """The denoised latent that the model answers, with some of its inputs changed.

        With other transformer_options it runs uncompiled: hosts compile a model for those that it had first (TorchCompileModel
        drops the guards on them), so that one layer's replacement would answer for others. And layers between frames keep the
        patches that they had: the host calls them by the name of the layer over the picture beside them.
        """
        call = replace(self, **changed)
        inputs = call.x, call.t, call.c_concat, call.c_crossattn, call.control, call.options
        with ExitStack() as stack:
            if "options" in changed:
                stack.enter_context(_uncompiled())
                for block in self.family.temporal_blocks():
                    stack.enter_context(replaced(block, "forward", partial(_patched_as, self.options, block.forward)))
            return call.execute(*inputs, **call.conditions)


def on_enlarged(patched: ModelPatcher, family: Family, key: str, act: Callable[[Call], Tensor], native_size: int = 0) -> None:
    """Let `act` answer a clone's every call on an enlarged picture; its calls on others stay the host's own.

    Of `family` only its kind is kept: everything is read from the model that runs, so that copies of it (compiled, another
    device's) work with their own modules. `native_size` is what the method's node was given, 0 where it leaves it to the model.
    """
    kind = type(family)
    give_native_size(patched, native_size)

    def around_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        options = transformer_options or {}
        family = running_family(kind, executor.class_obj, options, native_size)
        enlarged = family.enlarged(*_latent_shape(x, kwargs)[-2:])
        if enlarged is None:
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
        with fallbacks_said_once():
            return act(Call(family, enlarged, executor, x, t, c_concat, c_crossattn, control, options, kwargs))

    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, key, around_model)


def _latent_shape(x: Tensor, conditions: dict[str, Any]) -> torch.Size:
    return torch.Size((len(x), *conditions["latent_shapes"][0][1:])) if x.ndim == 3 else x.shape


def _patched_as(
    options: dict, forward: Callable, x: Tensor, context: Any = None, transformer_options: dict | None = None
) -> Tensor:
    """A transformer block's answer under the patches of these options; where it is called without options, as it is."""
    if transformer_options is None:
        return forward(x, context=context)
    names = ("patches", "patches_replace")
    others = {name: value for name, value in transformer_options.items() if name not in names}
    patches = {name: options[name] for name in names if name in options}
    return forward(x, context=context, transformer_options={**others, **patches})


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Within it torch.compile does nothing. That holds for all threads, so the last one to leave switches it on again."""
    global _uncompiled_calls
    with _lock:
        _uncompiled_calls += 1
        if _uncompiled_calls == 1 and hasattr(torch.compiler, "set_stance"):  # from PyTorch 2.6 on
            _stance.enter_context(torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _lock:
            _uncompiled_calls -= 1
            if not _uncompiled_calls:
                _stance.close()


@contextmanager
def replaced(module: torch.nn.Module, name: str, value: Any) -> Iterator[None]:
    """Within it a module has its own `name`; after it, what it had before, if anything.

    Calls of one model may overlap where another pack runs them in threads: whichever ends last, nothing stays.
    """
    with _lock:
        values = _replacements.setdefault(module, {}).setdefault(name, [vars(module).get(name)])
        values.append(value)
        setattr(module, name, value)
    try:
        yield
    finally:
        with _lock:
            values.remove(value)
            if values[-1] is None:
                delattr(module, name)
            else:
                setattr(module, name, values[-1])
            if len(values) == 1:
                del _replacements[module][name]
