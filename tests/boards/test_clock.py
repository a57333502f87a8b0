# amaranth: UnusedElaboratable=no
from fractions import Fraction

import pytest
from amaranth import *
from amaranth.sim import Simulator

from xnorflow.boards.clock import PllDomain, find_pll
from xnorflow.errors import DesignError
from xnorflow.hw.families.ecp5 import ECP5, Ecp5Pll
from xnorflow.hw.families.ice40 import ICE40, Ice40Pll


@pytest.mark.parametrize(
    ("clock", "settings"),
    [
        # What `icepll -i 12 -o ...` says.
        (18_000_000, Ice40Pll(0, 47, 5, 1)),
        (24_000_000, Ice40Pll(0, 63, 5, 1)),
        (30_000_000, Ice40Pll(0, 79, 5, 1)),
        (48_000_000, Ice40Pll(0, 63, 4, 1)),
    ],
)
def test_ice40_settings(clock, settings):
    assert find_pll(ICE40, 12_000_000, clock) == settings


@pytest.mark.parametrize(
    ("clock", "settings"),
    [
        # What `ecppll -i 25 -o ...` says.
        (50_000_000, Ecp5Pll(1, 2, 12)),
        (100_000_000, Ecp5Pll(1, 4, 6)),
        (120_000_000, Ecp5Pll(5, 24, 5)),
        (125_000_000, Ecp5Pll(1, 5, 5)),
    ],
)
def test_ecp5_settings(clock, settings):
    assert find_pll(ECP5, 25_000_000, clock) == settings


@pytest.mark.parametrize("oscillator", [12_000_000, 48_000_000, 100_000_000])
def test_ice40_settings_keep_the_limits(oscillator):
    for clock, pll in Ice40Pll.candidates(oscillator):
        detector = Fraction(oscillator, pll.divr + 1)
        assert 10e6 <= detector <= 133e6
        assert 533e6 <= detector * (pll.divf + 1) <= 1066e6
        assert clock == detector * (pll.divf + 1) / 2**pll.divq
        assert pll.divr < 16
        assert pll.divf < 128
        assert 1 <= pll.divq <= 6
        assert 1 <= pll.filter_range <= 6


@pytest.mark.parametrize("oscillator", [12_000_000, 25_000_000, 200_000_000])
def test_ecp5_settings_keep_the_limits(oscillator):
    for clock, pll in Ecp5Pll.candidates(oscillator):
        detector = Fraction(oscillator, pll.input_divider)
        assert detector >= 3125000
        assert clock == detector * pll.feedback_divider
        assert 400e6 <= clock * pll.output_divider <= 800e6
        assert 10e6 <= clock <= 400e6


@pytest.mark.parametrize(
    ("family", "oscillator", "clock", "message"),
    [
        (
            ICE40, 12_000_000, 20_000_000,
            r"the PLL cannot make 20 MHz out of 12 MHz; "
            r"the nearest it can make: 19\.875 MHz and 20\.25 MHz",
        ),
        (
            ICE40, 12_000_000, 1_000_000,
            r"the PLL cannot make 1 MHz out of 12 MHz; the nearest it can make: 16\.125 MHz",
        ),
        (
            ECP5, 25_000_000, 500_000_000,
            r"the PLL cannot make 500 MHz out of 25 MHz; the nearest it can make: 400 MHz",
        ),
    ],
)  # fmt: skip
def test_says_what_it_cannot_make(family, oscillator, clock, message):
    with pytest.raises(DesignError, match=f"^{message}$"):
        find_pll(family, oscillator, clock)


class IdealPll:
    """Passes a clock on, and locks when told."""

    def __init__(self):
        self.oscillator = Signal()
        self.locked = Signal()

    def instance(self, _port, clock, locked):
        m = Module()
        m.d.comb += [clock.eq(self.oscillator), locked.eq(self.locked)]
        return m


def test_reset_lasts_15_us_after_the_lock():
    pll = IdealPll()
    m = Module()
    m.domains.sync = ClockDomain()
    m.submodules.clock = PllDomain(pll, None, clock=2_000_000)
    reset = Signal()
    count = Signal(8)
    m.d.comb += reset.eq(ResetSignal("sync"))
    m.d.sync += count.eq(count + 1)

    async def script(ctx):
        async def run(cycles):
            for _ in range(cycles):
                for level in (1, 0):
                    ctx.set(pll.oscillator, level)
                    await ctx.delay(250e-9)

        await run(100)
        assert ctx.get(reset)
        ctx.set(pll.locked, 1)
        await run(31)
        assert ctx.get(reset)
        await run(2)
        assert not ctx.get(reset)
        assert ctx.get(count) == 0
        await run(10)
        assert ctx.get(count) == 10

    simulator = Simulator(m)
    simulator.add_testbench(script)
    simulator.run()
