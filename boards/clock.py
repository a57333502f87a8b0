"""Clocks from an oscillator: settings of the PLLs, and the generator of the ``sync`` domain."""

from dataclasses import dataclass
from fractions import Fraction

from amaranth import *
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from xnorflow.errors import DesignError
from xnorflow.hw.device import Family


__all__ = ["Ecp5Pll", "Ice40Pll", "PllDomain", "find_pll"]

_SETTLE = 15e-6  # seconds; iCE40 block RAMs read as zeros for 3 µs after configuration


@dataclass(frozen=True)
class Ice40Pll:
    """Settings of an SB_PLL40_PAD whose input is the pad of the oscillator.

    Source: Lattice FPGA-TN-02052, "iCE40 sysCLOCK PLL Design and Usage Guide"; the filter ranges
    are those of Project IceStorm's icepll.
    """

    divr: int
    divf: int
    divq: int
    filter_range: int

    @classmethod
    def candidates(cls, oscillator: int):
        """Yield (clock in Hz, settings) for all that the PLL can make of ``oscillator`` Hz."""
        ranges = [17e6, 26e6, 44e6, 66e6, 101e6]
        for divr in range(16):
            detector = Fraction(oscillator, divr + 1)
            if not 10e6 <= detector <= 133e6:
                continue
            filter_range = 1 + sum(detector >= limit for limit in ranges)
            for divf in range(128):
                vco = detector * (divf + 1)
                if not 533e6 <= vco <= 1066e6:
                    continue
                for divq in range(1, 7):
                    clock = vco / 2**divq
                    if 16e6 <= clock <= 275e6:
                        yield clock, cls(divr, divf, divq, filter_range)

    def instance(self, port, clock, locked):
        """Return the PLL: from the pad of ``port`` to the signals ``clock`` and ``locked``."""
        return Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(self.divr, 4),
            p_DIVF=Const(self.divf, 7),
            p_DIVQ=Const(self.divq, 3),
            p_FILTER_RANGE=Const(self.filter_range, 3),
            io_PACKAGEPIN=port.io,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clock,
            o_LOCK=locked,
        )


@dataclass(frozen=True)
class Ecp5Pll:
    """Settings of an EHXPLLL with feedback from its output.

    Source: Lattice FPGA-TN-02200, "ECP5 and ECP5-5G sysCLOCK PLL/DLL Design and Usage Guide"; the
    analogue settings are those of Project Trellis' ecppll.
    """

    input_divider: int
    feedback_divider: int
    output_divider: int

    @classmethod
    def candidates(cls, oscillator: int):
        """Yield (clock in Hz, settings) for all that the PLL can make of ``oscillator`` Hz.

        Of several output dividers, it is the one with the oscillation nearest to 600 MHz.
        """
        if not 8e6 <= oscillator <= 400e6:
            return
        for input_divider in range(1, 129):
            detector = Fraction(oscillator, input_divider)
            if detector < 3125000:
                return
            for feedback_divider in range(1, 81):
                clock = detector * feedback_divider
                output_divider = min(128, max(1, round(600e6 / clock)))
                in_range = 400e6 <= clock * output_divider <= 800e6
                if in_range and 10e6 <= clock <= 400e6:
                    yield clock, cls(input_divider, feedback_divider, output_divider)

    def instance(self, port, clock, locked):
        """Return the PLL: from the pad of ``port`` to the signals ``clock`` and ``locked``."""
        m = Module()
        m.submodules.oscillator = oscillator = io.Buffer("i", port)
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_CLKI_DIV=self.input_divider,
            p_CLKFB_DIV=self.feedback_divider,
            p_CLKOP_DIV=self.output_divider,
            p_CLKOP_CPHASE=max(0, self.output_divider // 2 - 1),
            p_CLKOP_FPHASE=0,
            p_CLKOP_ENABLE="ENABLED",
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=oscillator.i,
            i_CLKFB=clock,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=clock,
            o_LOCK=locked,
        )
        return m


_PLLS = {Family.ICE40: Ice40Pll, Family.ECP5: Ecp5Pll}


def find_pll(family: Family, oscillator: int, clock: int) -> Ice40Pll | Ecp5Pll:
    """Find settings with which a PLL makes exactly ``clock`` out of ``oscillator``, both in Hz.

    Raises
    ------
    DesignError
        If there are none.
    """
    settings = {}
    for made, pll in _PLLS[family].candidates(oscillator):
        settings.setdefault(made, pll)
    if clock in settings:
        return settings[clock]
    nearest = [
        *sorted(made for made in settings if made < clock)[-1:],
        *sorted(made for made in settings if made > clock)[:1],
    ]
    raise DesignError(
        f"the PLL cannot make {clock / 1e6:g} MHz out of {oscillator / 1e6:g} MHz; "
        f"the nearest it can make: {' and '.join(f'{float(made) / 1e6:g} MHz' for made in nearest)}"
    )


class PllDomain(Elaboratable):
    """Drives the clock and the reset of the ``sync`` domain from a PLL.

    The reset ends 15 µs after the PLL has locked.

    Parameters
    ----------
    pll : :class:`Ice40Pll` or :class:`Ecp5Pll`
    port : :class:`amaranth.lib.io.SingleEndedPort`
        The oscillator's.
    clock : :class:`int`
        Frequency of the domain, in Hz.
    """

    def __init__(self, pll, port, *, clock):
        self.pll = pll
        self.port = port
        self.clock = clock

    def elaborate(self, platform):
        m = Module()
        locked, steady = Signal(), Signal()
        # Without a reset, so that it can time the reset of the other.
        m.domains.start = ClockDomain(reset_less=True, local=True)
        m.submodules.pll = self.pll.instance(self.port, ClockSignal("start"), locked)
        m.submodules.synchronizer = FFSynchronizer(locked, steady, o_domain="start")

        timer = Signal(range(int(_SETTLE * self.clock) + 1), init=int(_SETTLE * self.clock))
        with m.If(steady & (timer != 0)):
            m.d.start += timer.eq(timer - 1)
        m.d.comb += [
            ClockSignal("sync").eq(ClockSignal("start")),
            ResetSignal("sync").eq(timer != 0),
        ]
        return m
