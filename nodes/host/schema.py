"""Settings of a node's schema that only newer hosts have a keyword for; older ones ignore an attribute that is set afterwards."""

from collections.abc import Callable
from functools import wraps

from comfy_api.latest import io


def where_known(**settings) -> Callable:
    """A define_schema whose schema has these settings as well."""

    def decorate(define: Callable[[type], io.Schema]) -> Callable[[type], io.Schema]:
        @wraps(define)
        def defined(cls) -> io.Schema:
            schema = define(cls)
            vars(schema).update(settings)
            return schema

        return defined

    return decorate


def advanced(entry: io.Input) -> io.Input:
    """The input, out of sight until a person asks for all settings of the node."""
    entry.extra_dict = {**entry.extra_dict, "advanced": True}
    return entry
