"""Boards with a GateMate."""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth_boards.resources import LEDResources, UARTResource

from xnorflow.boards.platforms import GateMatePlatform
from xnorflow.boards.target import Target
from xnorflow.hw.families.gatemate import CCGM1A1


__all__ = ["TARGETS"]


class _GateMateA1Evb(GateMatePlatform):
    """Olimex' GateMateA1-EVB, whose RP2040 is its programmer and USB-UART.

    Source: github.com/OLIMEX/GateMateA1-EVB, and litex-boards' olimex_gatemate_a1_evb.py.
    """

    default_clk = "clk10"
    resources = (
        Resource("clk10", 0, Pins("IO_SB_A8", dir="i"), Clock(10e6), Attrs(SCHMITT_TRIGGER="true")),
        *LEDResources(pins="IO_SB_B6", invert=True),
        UARTResource(0, rx="IO_SA_A6", tx="IO_SA_B6", attrs=Attrs()),
    )
    connectors = ()


GATEMATE_A1_EVB = Target(
    name="gatemate-a1-evb",
    title="GateMateA1-EVB",
    device=CCGM1A1,
    platform=_GateMateA1Evb,
    clock=10_000_000,
    busy_led=("led", 0),
    loader=("-b", "olimex_gatemateevb"),
)

TARGETS = (GATEMATE_A1_EVB,)
