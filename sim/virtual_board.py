"""A board that is simulated: its Verilated gateware behind a pseudo-terminal.

What opens the pseudo-terminal as a serial port talks to the gateware's own UART, bit by bit. Time
stands still on the board while nothing happens, and else runs as fast as the simulation does:
rates are not those of a real line, everything else is.
"""

import os
import subprocess
import tempfile
import tty
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.sim.verilate import HARNESSES, verilate


__all__ = ["Direction", "Fault", "FaultKind", "virtual_board"]


class Direction(Enum):
    """Which way a byte goes; the values are those of ``sim/harness/board.cpp``."""

    TO_BOARD = "i"
    TO_HOST = "o"


class FaultKind(Enum):
    """Fate of a byte on the line; the values are those of ``sim/harness/board.cpp``."""

    FLIP = "x"
    """One of its bits is wrong."""

    DROP = "d"
    """It gets lost."""


@dataclass(frozen=True)
class Fault:
    """A byte that the line spoils: ``number`` counts from 0 in its direction."""

    direction: Direction
    number: int
    kind: FaultKind


@contextmanager
def virtual_board(
    top: Any, *, divisor: int, faults: Iterable[Fault] = (), cache: Path | str | None = None
) -> Iterator[str]:
    """Simulate a board for the time of a ``with`` block; gives the path of its serial port.

    Parameters
    ----------
    top : Component
        The gateware: ports ``rx`` and ``tx`` of a serial line, and ``busy``, which is high while
        an answer is being worked on (`xnorflow.boards.link.LinkTop`).
    divisor : int
        Clock cycles a bit on the line, as the gateware has it.
    faults : iterable of Fault
        What goes wrong on the line.
    cache : Path, optional
        Folder of compiled simulations; the user's by default.

    Raises
    ------
    ToolError
        If Verilator, a C++ compiler, make or perl are missing or fail.
    """
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as scratch:
        source = Path(scratch, "board.v")
        source.write_text(component_verilog(top, "board"))
        program = verilate(source, "board", HARNESSES / "board.cpp", cache)
    spoilt = [f"{fault.direction.value}{fault.number}{fault.kind.value}" for fault in faults]
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        command = [str(program), str(master), str(divisor), *spoilt]
        with subprocess.Popen(command, pass_fds=[master]) as process:
            os.close(master)
            master = -1
            try:
                # As long as our side of the terminal is open, the board lives on between clients.
                yield os.ttyname(slave)
            finally:
                process.terminate()
    finally:
        os.close(slave)
        if master >= 0:
            os.close(master)
