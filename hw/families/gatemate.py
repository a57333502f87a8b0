"""Cologne Chip's GateMate."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import io

from xnorflow.hw.families.device import Cell, Device, Family


__all__ = ["CCGM1A1", "DEVICES", "GATEMATE", "GateMatePll"]


@dataclass(frozen=True)
class GateMatePll:
    """Settings of a CC_PLL: nextpnr finds its dividers.

    Source: Cologne Chip UG1001, "GateMate FPGA Primitives Library".
    """

    oscillator: int
    clock: int

    @classmethod
    def candidates(cls, oscillator: int):
        """Yield (clock in Hz, settings) for the whole multiples of ``oscillator`` Hz."""
        for factor in range(2, 26):
            if oscillator * factor <= 250e6:
                yield oscillator * factor, cls(oscillator, oscillator * factor)

    def instance(self, port, clock, locked):
        """Return the PLL: from the pad of ``port`` to the signals ``clock`` and ``locked``."""
        m = Module()
        m.submodules.oscillator = oscillator = io.Buffer("i", port)
        m.submodules.pll = Instance(
            "CC_PLL",
            p_REF_CLK=f"{self.oscillator / 1e6:.3f}",
            p_OUT_CLK=f"{self.clock / 1e6:.3f}",
            p_PERF_MD="SPEED",
            p_LOW_JITTER=1,
            p_CI_FILTER_CONST=2,
            p_CP_FILTER_CONST=4,
            i_CLK_REF=oscillator.i,
            i_CLK_FEEDBACK=Const(0),
            i_USR_CLK_REF=Const(0),
            i_USR_LOCKED_STDY_RST=Const(0),
            o_CLK0=clock,
            o_USR_PLL_LOCKED=locked,
        )
        return m


GATEMATE = Family(
    name="GateMate",
    lut_inputs=4,
    levels_per_stage=3,
    luts_per_register=0.25,
    distributed_rams=False,
    register_ram_bits=160,
    synthesis="synth_gatemate",
    # As nextpnr wants it; it takes no multiplexers of eight, and products are adders of cells.
    synthesis_options=("-luttree", "-nomx8"),
    multiplier_options=("", "-nomult"),
    bare_options=("-noiopad", "-noclkbuf"),
    no_carries="-noaddf",
    # A cell (CPE) has two trees of two inputs to a node: about a look-up table of four.
    cells={"CPE_LT": Cell.LUT, "CPE_FF": Cell.FLIP_FLOP, "RAM_HALF": Cell.BLOCK_RAM},
    cell_parts={"CPE_LT": 2},
    models="gatemate/cells_sim.v",
    suffix="bit",
    pll=GateMatePll,
)

CCGM1A1 = Device(
    "CCGM1A1",
    GATEMATE,
    20480,
    64,
    20480,
    (40, 20, 10, 5, 2, 1),
    0,
    18,
    packer=("nextpnr-himbaechel-gatemate", "--device", "CCGM1A1", "--vopt", "allow-unconstrained"),
)

DEVICES = (CCGM1A1,)
