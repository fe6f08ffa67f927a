"""How a node refuses bad input."""


def bad_input(node: str, name: str, value: object, problem: str) -> ValueError:
    """The error a person reads: which node and input, the value given, what is wrong and what to do about it."""
    return ValueError(f"{node} › {name} = {value!r}: {problem}")
