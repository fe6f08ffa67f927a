"""Lists separated by commas."""


def entries(text: str) -> list[str]:
    """The parts of a list, in lower case, without the empty ones."""
    return [entry for entry in (part.strip().lower() for part in text.split(",")) if entry]
