"""Designs of a network on a board, from the smallest to the fastest."""

from dataclasses import dataclass
from math import isqrt
from typing import Any

from xnorflow.boards.host import BAUD
from xnorflow.boards.plan import choose_for
from xnorflow.boards.target import Target
from xnorflow.boards.top import line_cycles
from xnorflow.errors import DesignError
from xnorflow.ir import Network


__all__ = ["Choice", "designs"]

_TRIES = 4
"""Rates that are tried for each design that is wanted: several rates may have the same one."""


@dataclass(frozen=True)
class Choice:
    """A design, and the cycles a frame that it was asked for: None for the fastest."""

    design: Any  # Design
    cycles: int | None

    @property
    def option(self) -> str:
        """Option of commands that chooses it."""
        return "--fastest" if self.cycles is None else f"--cycles {self.cycles}"


def designs(
    network: Network, target: Target, *, count: int, clock: int | None = None
) -> list[Choice]:
    """Find up to ``count`` designs that differ in their rate, the smallest first.

    At one end is the cheapest folding that keeps up with the line to the host, at the other the
    fastest that fits. Between them, rates are sought where the designs so far leave the widest gap
    in cycles, as a ratio; each has its cheapest folding.

    Raises
    ------
    DesignError
        If no design fits.
    """
    clock = target.clock if clock is None else clock

    def choose(**rate: Any) -> Any:
        return choose_for(network, target, clock=clock, **rate)

    fastest = choose(fastest=True)
    found = {fastest.cycles_per_frame: Choice(fastest, None)}
    low, high = fastest.cycles_per_frame + 1, line_cycles(network.input, clock, BAUD)
    # A slow one first: the smallest.
    asked, gaps = high, []
    for _ in range(_TRIES * count):
        if len(found) >= count or asked < low:
            break
        try:
            design = choose(cycles=asked)
        except DesignError:  # a slower design may need more than a faster one
            gaps += [(low, asked - 1), (asked + 1, high)]
        else:
            cycles = design.cycles_per_frame
            if cycles not in found and cycles >= low:
                found[cycles] = Choice(design, asked)
                gaps += [(low, cycles - 1)]
            # With up to so many cycles, there is no other.
            gaps += [(asked + 1, high)]
        gaps = [(first, last) for first, last in gaps if first <= last]
        if not gaps:
            break
        low, high = max(gaps, key=lambda gap: gap[1] / gap[0])
        gaps.remove((low, high))
        asked = isqrt(low * high)
    return [found[cycles] for cycles in sorted(found, reverse=True)]
