"""Boards with a Gowin FPGA."""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth_boards.resources import LEDResources, UARTResource
from amaranth_boards.tang_mega_138k_pro_dock import TangMega138kProDockPlatform
from amaranth_boards.tang_nano_9k import TangNano9kPlatform

from xnorflow.boards.platforms import HimbaechelGowinPlatform, through_himbaechel
from xnorflow.boards.target import Target
from xnorflow.hw.families.gowin import GW1N_9C, GW2A_18C, GW5A_25A, GW5AST_138C


__all__ = ["TARGETS"]

_LVCMOS33 = Attrs(IO_TYPE="LVCMOS33")
_PULLED_UP = Attrs(PULL_MODE="UP", IO_TYPE="LVCMOS33")


class _TangNano20k(HimbaechelGowinPlatform):
    """Source: Sipeed's schematic of the board, and litex-boards' sipeed_tang_nano_20k.py."""

    part = "GW2AR-LV18QN88C8/I7"
    family = "GW2AR-18C"
    default_clk = "clk27"
    resources = (
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), _LVCMOS33),
        *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=_LVCMOS33),
        UARTResource(0, rx="70", tx="69", attrs=_PULLED_UP),
    )
    connectors = ()


class _TangPrimer25k(HimbaechelGowinPlatform):
    """The Tang Primer 25K in its dock, whose programmer has a UART.

    Source: Sipeed's schematic of the dock, and litex-boards' sipeed_tang_primer_25k.py.
    """

    part = "GW5A-LV25MG121NC1/I0"
    family = "GW5A-25A"
    default_clk = "clk50"
    gpio = ("sspi_as_gpio", "cpu_as_gpio")  # the oscillator's pin is one of those for a CPU
    resources = (
        Resource("clk50", 0, Pins("E2", dir="i"), Clock(50e6), _LVCMOS33),
        UARTResource(0, rx="B3", tx="C3", attrs=_PULLED_UP),
    )
    connectors = ()


class _TangMega138k(through_himbaechel(TangMega138kProDockPlatform)):
    gpio = ("sspi_as_gpio", "cpu_as_gpio")


TANG_NANO_9K = Target(
    name="tang-nano-9k",
    title="Tang Nano 9K",
    device=GW1N_9C,
    platform=through_himbaechel(TangNano9kPlatform),
    clock=27_000_000,
    busy_led=("led", 0),
    refused_led=("led", 1),
    loader=("-b", "tangnano9k"),
)

TANG_NANO_20K = Target(
    name="tang-nano-20k",
    title="Tang Nano 20K",
    device=GW2A_18C,
    platform=_TangNano20k,
    clock=27_000_000,
    busy_led=("led", 0),
    refused_led=("led", 1),
    loader=("-b", "tangnano20k"),
)

TANG_PRIMER_25K = Target(
    name="tang-primer-25k",
    title="Tang Primer 25K",
    device=GW5A_25A,
    platform=_TangPrimer25k,
    clock=50_000_000,
    loader=("-b", "tangprimer25k"),
)

TANG_MEGA_138K_PRO = Target(
    name="tang-mega-138k-pro",
    title="Tang Mega 138K Pro",
    device=GW5AST_138C,
    platform=_TangMega138k,
    clock=50_000_000,
    busy_led=("led", 0),
    refused_led=("led", 1),
    loader=("-b", "tangmega138k"),
)

TARGETS = (TANG_NANO_9K, TANG_NANO_20K, TANG_PRIMER_25K, TANG_MEGA_138K_PRO)
