"""What the host says when its attention cannot use its kernel, said once: an enlarged picture has many more calls."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from comfy.ldm.modules import attention

_said: set[str] = set()


@contextmanager
def fallbacks_said_once() -> Iterator[None]:
    """Within it each line of the host's attention gets into the log once in the life of ComfyUI.

    Sage and Flash Attention do without their kernel where it refuses the width of the heads (160 in SD 1.5) or the dtype, and
    say so for every window. The text names what was refused, so that another width is another line.
    """
    once = _Once()
    logging.root.addFilter(once)
    try:
        yield
    finally:
        logging.root.removeFilter(once)


class _Once(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.pathname != attention.__file__:
            return True
        text = record.getMessage()
        new = vars(record).setdefault("freescale_new", text not in _said)  # the same answer under each patch of ours
        _said.add(text)
        return new
