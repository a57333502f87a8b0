"""Interruptions by Ctrl-C: every command says what is kept, and which command goes on."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


__all__ = ["NOTHING_KEPT", "InterruptError", "command_line", "on_interrupt"]

NOTHING_KEPT = "nothing has been written; the same command starts again"


class InterruptError(Exception):
    """Ctrl-C, and a sentence about what is kept; `xnorflow.cli.main` prints it."""


@contextmanager
def on_interrupt(describe: Callable[[], str]) -> Iterator[None]:
    """Say with `InterruptError` what ``describe`` finds when Ctrl-C ends a ``with`` block."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptError(describe()) from None


def command_line(*without: str) -> str:
    """The command that runs, as a user types it, ``without`` some of its flags."""
    arguments = [argument for argument in sys.argv[1:] if argument not in without]
    return shlex.join(["xnorflow", *arguments])
