"""Lattice iCE40."""

from dataclasses import dataclass
from fractions import Fraction

from amaranth import *
from amaranth.lib import io

from xnorflow.hw.families.device import Cell, Device, Family


__all__ = ["DEVICES", "HX1K", "HX4K", "HX8K", "ICE40", "LP1K", "LP8K", "UP5K", "Ice40Pll"]

_PLL_PAD = "35"  # of a UP5K in its package of 48 pins


@dataclass(frozen=True)
class Ice40Pll:
    """Settings of an SB_PLL40_PAD, or of an SB_PLL40_CORE if the oscillator is at another pad.

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
        m = Module()
        if any(pin.name == _PLL_PAD for pin in port.io.metadata):
            kind, source = "SB_PLL40_PAD", {"io_PACKAGEPIN": port.io}
        else:
            m.submodules.oscillator = oscillator = io.Buffer("i", port)
            kind, source = "SB_PLL40_CORE", {"i_REFERENCECLK": oscillator.i}
        m.submodules.pll = Instance(
            kind,
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(self.divr, 4),
            p_DIVF=Const(self.divf, 7),
            p_DIVQ=Const(self.divq, 3),
            p_FILTER_RANGE=Const(self.filter_range, 3),
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clock,
            o_LOCK=locked,
            **source,
        )
        return m


ICE40 = Family(
    name="iCE40",
    lut_inputs=4,
    levels_per_stage=4,
    adders_from=1,
    luts_per_added_synapse=2.1,
    # Adders end to end would save a twentieth, and keep full devices from being placed.
    luts_per_register=1,
    distributed_rams=False,
    synthesis="synth_ice40",
    # Flip-flops share a tile only with those of the same enable: enables of few of them would leave
    # full devices without a place.
    synthesis_options=("-dffe_min_ce_use 4",),
    multiplier_options=("-dsp", ""),
    no_carries="-nocarry",
    cells={
        "ICESTORM_LC": Cell.LUT,  # a logic cell: look-up table, carry and flip-flop
        "ICESTORM_RAM": Cell.BLOCK_RAM,
        "ICESTORM_DSP": Cell.MULTIPLIER,
    },
    models="ice40/cells_sim.v",
    suffix="bin",
    pll=Ice40Pll,
)


def _device(name, luts, block_rams, multipliers, packer, clock=25_000_000):
    packing = ("nextpnr-ice40", *packer.split())
    return Device(
        name, ICE40, luts, block_rams, 4096, (16, 8, 4, 2), multipliers, 16, packing, clock=clock
    )


UP5K = _device("iCE40UP5K", 5280, 30, 8, "--up5k", clock=12_000_000)
HX1K = _device("iCE40HX1K", 1280, 16, 0, "--hx1k")
LP1K = _device("iCE40LP1K", 1280, 16, 0, "--lp1k", clock=12_000_000)
# It is the die of an HX8K, all of which nextpnr takes.
HX4K = _device("iCE40HX4K", 7680, 32, 0, "--hx8k --package tq144:4k")
HX8K = _device("iCE40HX8K", 7680, 32, 0, "--hx8k")
LP8K = _device("iCE40LP8K", 7680, 32, 0, "--lp8k", clock=12_000_000)

DEVICES = (LP1K, HX1K, UP5K, HX4K, LP8K, HX8K)
