"""How a node refuses bad input."""

import functools
from collections.abc import Callable
from typing import TypeVar

from comfy_api.latest import io

Parsed = TypeVar("Parsed")
LONGEST_VALUE = 80  # characters of a value that an error shows


def bad_input(node: str, name: str, value: object, problem: str) -> ValueError:
    """The error a person reads: which node and input, the value given, what is wrong and what to do about it."""
    shown = repr(value)
    return ValueError(f"{node} › {name} = {shown if len(shown) <= LONGEST_VALUE else shown[:LONGEST_VALUE] + ' …'}: {problem}")


def parsed(node: str, name: str, text: str, parse: Callable[[str], Parsed]) -> Parsed:
    """`parse(text)`, with its ValueError as the node's; a prompt sent by a program may hold anything where a text belongs."""
    try:
        return parse(str(text))
    except ValueError as error:
        raise bad_input(node, name, text, str(error)) from None


def validity(node: str, name: str, text: str | None, parse: Callable[[str], object]) -> bool | str:
    """For validate_inputs, when Queue is pressed: True or the message. A linked text is None until the node runs."""
    try:
        if text is not None:
            parsed(node, name, text, parse)
    except ValueError as error:
        return str(error)
    return True


def require_order(node: str, name: str, value: float, end: float, problem: str) -> None:
    """Refuse a part of the sampling that begins after its `end_percent`."""
    if value > end:
        raise bad_input(node, name, value, f"it is after end_percent = {end}, {problem}. Make it smaller")


def within_limits(execute: Callable) -> Callable:
    """A node's `execute` that refuses values outside its own schema: ComfyUI checks typed values, but not linked ones."""

    @functools.wraps(execute)
    def checked(cls, *args, **inputs):
        schema = cls.define_schema()
        for declared in schema.inputs:
            if declared.id in inputs:
                _require_limits(schema.display_name, declared, inputs[declared.id])
        return execute(cls, *args, **inputs)

    return checked


def _require_limits(node: str, declared: io.Input, value: object) -> None:
    if isinstance(declared, (io.Int.Input, io.Float.Input)):
        kind, others = ("a whole number", bool | float) if isinstance(declared, io.Int.Input) else ("a number", bool)
        # NaN is not between the limits either.
        if isinstance(value, others) or not isinstance(value, int | float) or not declared.min <= value <= declared.max:
            problem = f"it must be {kind} from {declared.min} to {declared.max}. Change the value that is linked to it"
            raise bad_input(node, declared.id, value, problem)
    if isinstance(declared, io.Combo.Input) and value not in declared.options:
        problem = f"it is not one of {', '.join(map(str, declared.options))}. Change the value that is linked to it"
        raise bad_input(node, declared.id, value, problem)
