"""Lattice iCE40."""

from dataclasses import dataclass
from fractions import Fraction

from amaranth import *

from xnorflow.hw.families.device import Cell, Device, Family


__all__ = ["ICE40", "UP5K", "Ice40Pll"]


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


ICE40 = Family(
    name="iCE40",
    lut_inputs=4,
    levels_per_stage=4,
    adders_from=1,
    luts_per_added_synapse=2.1,
    packed_registers=True,
    distributed_rams=False,
    synthesis="synth_ice40",
    synthesis_options=(),
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

UP5K = Device(
    "iCE40UP5K", ICE40, 5280, 30, 4096, (16, 8, 4, 2), 8, 16, packer=("nextpnr-ice40", "--up5k")
)
