"""Clocks from an oscillator: settings of the PLLs, and the generator of the ``sync`` domain."""

from amaranth import *
from amaranth.lib.cdc import FFSynchronizer

from xnorflow.errors import DesignError
from xnorflow.hw.families.device import Family


__all__ = ["PllDomain", "find_pll"]

_SETTLE = 15e-6  # seconds; iCE40 block RAMs read as zeros for 3 µs after configuration


def find_pll(family: Family, oscillator: int, clock: int):
    """Find settings with which a PLL makes exactly ``clock`` out of ``oscillator``, both in Hz.

    Raises
    ------
    DesignError
        If there are none.
    """
    if family.pll is None:
        raise DesignError(
            f"PLLs of {family} are not supported: the clock must be the oscillator's, "
            f"{oscillator / 1e6:g} MHz"
        )
    settings = {}
    for made, pll in family.pll.candidates(oscillator):
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
    pll
        Settings, as `find_pll` finds them.
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

        # It ends below 0, so that its sign, a register, is all that is asked.
        cycles = int(_SETTLE * self.clock) - 1
        timer = Signal(range(-1, cycles + 1), init=cycles)
        with m.If(steady & (timer >= 0)):
            m.d.start += timer.eq(timer - 1)
        # A register of its own: the reset goes to all of the chip.
        reset = Signal(init=1)
        m.d.start += reset.eq(timer >= 0)
        m.d.comb += [
            ClockSignal("sync").eq(ClockSignal("start")),
            ResetSignal("sync").eq(reset),
        ]
        return m
