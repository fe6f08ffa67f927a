"""What a person reads while a command runs."""

import shutil
import sys
import time


class Trouble(Exception):
    """Something to tell the user in a sentence, without a traceback."""


def say(text: str) -> None:
    """Print a line for people, on stderr: stdout is kept for results."""
    erase = "\r\033[K" if sys.stderr.isatty() else ""
    print(erase + text, file=sys.stderr, flush=True)


_last = -9.0  # when a log was last told


def status(text: str) -> None:
    """Show progress: one line rewritten in place on a terminal, a line every few seconds in a log."""
    global _last
    if sys.stderr.isatty():
        print("\r\033[K" + text[: shutil.get_terminal_size().columns - 1], end="", file=sys.stderr, flush=True)
    elif time.monotonic() - _last > 2:
        _last = time.monotonic()
        say("  " + text)


def tail(text: str, lines: int = 40) -> str:
    """The end of a log; pip's longest lines run to many pages, so they are cut."""
    return "\n".join(line[:300] for line in text.splitlines()[-lines:])
