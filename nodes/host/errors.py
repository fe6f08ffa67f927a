"""How a node refuses bad input, and warns of what it cannot keep."""

import logging
from collections.abc import Callable
from itertools import count
from typing import TypeVar

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


class WarnOnce:
    """Says the first of its texts in the log and nothing after it: one for a patched model, whose calls are many."""

    def __init__(self):
        self._times = count()

    def __call__(self, text: str) -> None:
        if not next(self._times):  # counted before it is said: a second thread may come meanwhile
            logging.warning(text)
