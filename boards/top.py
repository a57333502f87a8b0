"""Top module of a board: the accelerator with its link, clock and pins."""

from contextlib import suppress

from amaranth import *
from amaranth.build import ResourceError
from amaranth.lib import io

from xnorflow.boards.clock import PllDomain, find_pll
from xnorflow.boards.line import Line
from xnorflow.boards.link import LinkTop
from xnorflow.boards.spi import MIN_RATIO
from xnorflow.boards.target import Target
from xnorflow.boards.uart import MIN_DIVISOR
from xnorflow.errors import DesignError
from xnorflow.frames import value_bytes
from xnorflow.hw.compile.design import Design
from xnorflow.ir import FeatureMap


__all__ = [
    "BoardTop",
    "fastest_clock",
    "highest_serial_clock",
    "line_cycles",
    "line_divisor",
]

_STEP = 250_000  # Hz
_TOLERANCE = 0.02  # of the baud rate; the receiver bears twice that


def line_divisor(clock: int, baud: int) -> int:
    """Return the clock cycles of a bit, at ``clock`` Hz and ``baud`` bits per second.

    Raises
    ------
    DesignError
        If no whole number comes near enough.
    """
    divisor = round(clock / baud)
    if divisor < MIN_DIVISOR or abs(clock / divisor / baud - 1) > _TOLERANCE:
        raise DesignError(f"a clock of {clock / 1e6:g} MHz does not give {baud} baud")
    return divisor


def line_cycles(frame: FeatureMap, clock: int, baud: int) -> int:
    """Return the clock cycles from one frame on the line to the next, at the fastest."""
    return 10 * line_divisor(clock, baud) * frame.size * value_bytes(frame.type)


def fastest_clock(target: Target, most: float, baud: int) -> int | None:
    """Return the highest clock of at most so many Hz that a board and its line work with, if any.

    Of what a PLL makes, it is a multiple of 250 kHz.
    """
    clocks = {target.oscillator}
    if target.device.family.pll is not None:
        made = (clock for clock, _ in target.device.family.pll.candidates(target.oscillator))
        clocks |= {int(clock) for clock in made if clock % _STEP == 0}
    for clock in sorted((clock for clock in clocks if clock <= most), reverse=True):
        with suppress(DesignError):
            line_divisor(clock, baud)
            return clock
    return None


def highest_serial_clock(design: Design, clock: int) -> int:
    """Return how fast an SPI controller may be, in Hz: it must not bring frames too soon."""
    frame = design.network.input
    bits = 8 * frame.size * value_bytes(frame.type)
    return int(min(clock / MIN_RATIO, clock * bits / design.cycles_per_frame))


class BoardTop(Elaboratable):
    """Top of a bitstream.

    Parameters
    ----------
    design : :class:`Design`
    target : :class:`Target`
    clock : :class:`int`
        Frequency of the ``sync`` domain in Hz.
    baud : :class:`int`
        Bits per second on a serial line to the host.
    line : :class:`Line`
        What leads to the host.

    Raises
    ------
    DesignError
        If the board cannot make the clock, the clock cannot make the baud rate, the line brings
        frames sooner than the design takes them, or the board has no pins for the line.
    """

    def __init__(
        self, design: Design, target: Target, *, clock: int, baud: int, line: Line = Line.UART
    ):
        self.target = target
        self.clock = clock
        self.line = line
        if line is Line.UART:
            divisor = line_divisor(clock, baud)
            _check_rate(design, clock, baud)
        else:
            divisor = None
            _check_spi(target)
        self.link = LinkTop(design, clock=clock, divisor=divisor)
        self.pll = None
        if clock != target.oscillator:
            self.pll = find_pll(target.device.family, target.oscillator, clock)

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self.link

        # Without a PLL, the platform drives the domain from its oscillator.
        if self.pll is not None:
            m.domains.sync = ClockDomain()
            port = platform.request(platform.default_clk, dir="-")
            m.submodules.clock = PllDomain(self.pll, port, clock=self.clock)

        def take(name, port):
            m.submodules[name] = buffer = io.Buffer("i", port)
            m.d.comb += getattr(link, name).eq(buffer.i)
            return buffer.i

        def drive(name, port, level):
            m.submodules[name] = buffer = io.Buffer("o", port)
            m.d.comb += buffer.o.eq(level)
            return buffer

        if self.line is Line.UART:
            uart = platform.request("uart", 0, dir="-")
            take("rx", uart.rx)
            drive("tx", uart.tx, link.tx)
        else:
            if self.target.spi is not None:
                platform.add_resources([self.target.spi])
            spi = platform.request("spi", 0, dir="-")
            take("sck", spi.clk)
            take("copi", spi.copi)
            # The controller may have other peripherals on the same wire.
            m.d.comb += drive("cipo", spi.cipo, link.cipo).oe.eq(take("cs", spi.cs))
        for name, led, level in (
            ("busy_led", self.target.busy_led, link.busy),
            ("refused_led", self.target.refused_led, link.refused),
        ):
            if led is not None:
                drive(name, platform.request(*led, dir="-"), level)
        for name in self.target.high:
            drive(name, platform.request(name, 0, dir="-"), 1)

        return m


def _check_rate(design, clock, baud):
    """Nothing on the line waits, and only a layer's window is stored."""
    cycles = line_cycles(design.network.input, clock, baud)
    if design.cycles_per_frame > cycles:
        raise DesignError(
            f"{design.network.name} takes {design.cycles_per_frame} cycles a frame, but the "
            f"line brings one every {cycles}: fold it for at most that"
        )


def _check_spi(target):
    """A board of a user has the resource in its platform."""
    if target.spi is not None:
        return
    try:
        spi = target.platform().lookup("spi", 0)
    except ResourceError:
        pins = set()
    else:
        pins = {getattr(pin, "name", "") for pin in spi.ios}
    if not {"cs", "clk", "copi", "cipo"} <= pins:
        raise DesignError(
            f"the {target.title} names no pins for SPI: a board of your own has them as a resource "
            "spi with cs, clk, copi and cipo"
        )
