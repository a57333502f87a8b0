"""Boards with an iCE40."""

from amaranth.build import Attrs
from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform
from amaranth_boards.icebreaker import ICEBreakerPlatform
from amaranth_boards.icebreaker_bitsy import ICEBreakerBitsyPlatform
from amaranth_boards.icestick import ICEStickPlatform
from amaranth_boards.icesugar import ICESugarPlatform
from amaranth_boards.icesugar_nano import ICESugarNanoPlatform
from amaranth_boards.resources import SPIResource, UARTResource
from amaranth_boards.upduino_v3 import UpduinoV3Platform

from xnorflow.boards.target import Target
from xnorflow.hw.families.ice40 import HX1K, HX8K, LP1K, UP5K


__all__ = ["ICEBREAKER", "TARGETS"]

_GENERIC = ("-b", "ice40_generic")
_DRIVE = "copy the file to the drive called iCELink"
_PULLED_UP = Attrs(IO_STANDARD="SB_LVCMOS", PULLUP=1)


def _spi(pmod):
    """Pins 1 to 4 of a PMOD, as Digilent's SPI modules have them."""
    pins = {"cs_n": "1", "copi": "2", "cipo": "3", "clk": "4"}
    conn, attrs = ("pmod", pmod), Attrs(IO_STANDARD="SB_LVCMOS")
    return SPIResource(0, **pins, role="peripheral", conn=conn, attrs=attrs)


class _Bitsy(ICEBreakerBitsyPlatform):
    resources = (
        *ICEBreakerBitsyPlatform.resources,
        UARTResource(0, rx="1", tx="2", conn=("pmod", 1), attrs=_PULLED_UP),
    )


class _Upduino3(UpduinoV3Platform):
    # The oscillator within is not exact enough for a UART.
    default_clk = "clk12"
    resources = (
        *UpduinoV3Platform.resources,
        UARTResource(0, rx="28", tx="38", attrs=_PULLED_UP),
    )


ICEBREAKER = Target(
    name="icebreaker",
    title="iCEBreaker",
    device=UP5K,
    platform=ICEBreakerPlatform,
    clock=12_000_000,
    busy_led=("led_g", 0),
    refused_led=("led_r", 0),
    loader=_GENERIC,
    spi=_spi(0),
)

ICEBREAKER_BITSY = Target(
    name="icebreaker-bitsy",
    title="iCEBreaker-bitsy",
    device=UP5K,
    platform=_Bitsy,
    clock=12_000_000,
    busy_led=("led_g", 0),
    refused_led=("led_r", 0),
    loader=("-b", "icebreaker-bitsy"),
    wiring="a USB-UART of 3.3 V: its TX to P0 (PMOD 1, pin 1), its RX to P2 (PMOD 1, pin 2)",
    spi=_spi(3),
)

UPDUINO3 = Target(
    name="upduino3",
    title="UPduino 3",
    device=UP5K,
    platform=_Upduino3,
    clock=12_000_000,
    loader=_GENERIC,
    wiring="solder the jumper OSC (12 MHz to pin 20), and wire a USB-UART of 3.3 V: its TX to pin "
    "28, its RX to pin 38",
)

ICESUGAR = Target(
    name="icesugar",
    title="iCESugar",
    device=UP5K,
    platform=ICESugarPlatform,
    clock=12_000_000,
    busy_led=("led_g", 0),
    refused_led=("led_r", 0),
    loading=_DRIVE,
    spi=_spi(1),
)

ICESUGAR_NANO = Target(
    name="icesugar-nano",
    title="iCESugar-nano",
    device=LP1K,
    platform=ICESugarNanoPlatform,
    clock=12_000_000,
    busy_led=("led", 0),
    loading=_DRIVE,
    spi=_spi(2),
)

ICESTICK = Target(
    name="icestick",
    title="iCEstick",
    device=HX1K,
    platform=ICEStickPlatform,
    clock=12_000_000,
    busy_led=("led", 4),
    refused_led=("led", 0),
    loader=_GENERIC,
    spi=_spi(0),
)

HX8K_BREAKOUT = Target(
    name="ice40-hx8k",
    title="iCE40-HX8K Breakout Board",
    device=HX8K,
    platform=ICE40HX8KBEVNPlatform,
    clock=12_000_000,
    busy_led=("led", 0),
    refused_led=("led", 1),
    loader=_GENERIC,
)

TARGETS = (
    ICESUGAR_NANO, ICESTICK, ICEBREAKER, ICEBREAKER_BITSY, UPDUINO3, ICESUGAR, HX8K_BREAKOUT,
)  # fmt: skip
