"""How the ports of generated Verilog look."""

from dataclasses import dataclass
from enum import Enum

from xnorflow.errors import DesignError


__all__ = ["PLAIN_PORTS", "AxiPorts", "ResetPort"]

_WIDEST = 4096
"""Bits of TDATA that AMD's AXI4-Stream infrastructure takes."""


class ResetPort(Enum):
    """The reset's port; the clock's is named to go with it."""

    RST = "rst"
    """``rst``, active high, and ``clk``."""

    ARESETN = "aresetn"
    """``aresetn``, active low, and ``aclk``, as AXI4-Stream names them."""

    @property
    def clock(self) -> str:
        """Name of the clock's port."""
        return "clk" if self is ResetPort.RST else "aclk"

    @property
    def is_active_low(self) -> bool:
        """Whether 0 resets."""
        return self is ResetPort.ARESETN


@dataclass(frozen=True)
class AxiPorts:
    """How the ports of an :class:`AxiStreamTop` look.

    Attributes
    ----------
    width : int, optional
        Bits of TDATA on both streams, which then have TKEEP: a multiple of 8 up to 4096. If it is
        not given, a transfer is a word of the accelerator, and a whole result.
    reset : ResetPort
        Name and polarity of the reset, which is synchronous.
    watched : bool
        Whether there are outputs that show where words wait: for simulation, not for synthesis.

    Raises
    ------
    DesignError
        If the width is another one.
    """

    width: int | None = None
    reset: ResetPort = ResetPort.RST
    watched: bool = False

    def __post_init__(self):
        if self.width is not None and not (8 <= self.width <= _WIDEST and self.width % 8 == 0):
            raise DesignError(
                f"the AXI width must be a multiple of 8 from 8 to {_WIDEST} bits, not {self.width}"
            )


PLAIN_PORTS = AxiPorts()
"""A transfer is a word, and a whole result; the reset is active high."""
