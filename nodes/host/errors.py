"""How a node refuses bad input."""

from collections.abc import Callable
from typing import TypeVar

Parsed = TypeVar("Parsed")


def bad_input(node: str, name: str, value: object, problem: str) -> ValueError:
    """The error a person reads: which node and input, the value given, what is wrong and what to do about it."""
    return ValueError(f"{node} › {name} = {value!r}: {problem}")


def parsed(node: str, name: str, text: str, parse: Callable[[str], Parsed]) -> Parsed:
    """`parse(text)`, with its ValueError as the node's."""
    try:
        return parse(text)
    except ValueError as error:
        raise bad_input(node, name, text, str(error)) from None


def validity(node: str, name: str, text: str | None, parse: Callable[[str], object]) -> bool | str:
    """For validate_inputs, when Queue is pressed: True or the message. A linked text is None until the node runs."""
    try:
        return text is None or bool(parsed(node, name, text, parse))
    except ValueError as error:
        return str(error)
