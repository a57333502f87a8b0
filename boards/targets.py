"""The boards that bitstreams are built for, and those of users."""

from xnorflow.boards.known import ecp5, gatemate, gowin, ice40
from xnorflow.boards.known.ecp5 import ULX3S_85F
from xnorflow.boards.known.ice40 import ICEBREAKER
from xnorflow.boards.own import is_own_board, load_board
from xnorflow.boards.target import Target
from xnorflow.errors import DesignError
from xnorflow.hw.families import find_device, near
from xnorflow.hw.families.device import Device


__all__ = ["ICEBREAKER", "TARGETS", "ULX3S_85F", "Target", "find_place", "find_target"]

TARGETS = (*ice40.TARGETS, *ecp5.TARGETS, *gowin.TARGETS, *gatemate.TARGETS)
"""All boards that are known, family by family."""


def find_target(name: str) -> Target:
    """Return the board called ``name``, or the one of a user's file, ``my_board.py:MyBoard``.

    Raises
    ------
    DesignError
        If there is none, or something is wrong with the user's.

    Examples
    --------
    >>> xnorflow.find_target("icebreaker").title
    'iCEBreaker'
    """
    if is_own_board(name):
        return load_board(name)
    for target in TARGETS:
        if target.name == name:
            return target
    raise DesignError(f"there is no board {name!r}; {near(name, [t.name for t in TARGETS])}")


def find_place(board: str | None, device: str | None) -> Target | Device:
    """Return the board or the device that a design is for; a ULX3S 85F, if neither is named.

    Raises
    ------
    DesignError
        If both are, or there is none of that name.
    """
    if board is not None and device is not None:
        raise DesignError("give only one of --board and --device: a board has its device")
    if device is not None:
        return find_device(device)
    return ULX3S_85F if board is None else find_target(board)
