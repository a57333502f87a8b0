"""Gowin's LittleBee (GW1N), Arora (GW2A) and Arora V (GW5A)."""

from dataclasses import dataclass, replace
from fractions import Fraction

from amaranth import *
from amaranth.lib import io

from xnorflow.hw.families.device import Cell, Device, Family


__all__ = [
    "DEVICES",
    "GOWIN",
    "GOWIN5",
    "GW1N_9C",
    "GW2A_18C",
    "GW5AST_138C",
    "GW5A_25A",
    "GowinPll",
]


@dataclass(frozen=True)
class GowinPll:
    """Settings of an rPLL with feedback within.

    Source: Gowin UG286, "Gowin Clock User Guide", and DS117, the data sheet of the GW1NR, whose
    limits are the narrowest.
    """

    oscillator: int
    input_divider: int
    feedback_divider: int
    output_divider: int

    @classmethod
    def candidates(cls, oscillator: int):
        """Yield (clock in Hz, settings) for all that the PLL can make of ``oscillator`` Hz."""
        for input_divider in range(1, 65):
            detector = Fraction(oscillator, input_divider)
            if not 3e6 <= detector <= 400e6:
                continue
            for feedback_divider in range(1, 65):
                clock = detector * feedback_divider
                for output_divider in (2, 4, 8, *range(16, 129, 16)):
                    # Where the ranges of both families overlap.
                    if 500e6 < clock * output_divider < 1200e6 and 4e6 < clock < 450e6:
                        yield (
                            clock,
                            cls(oscillator, input_divider, feedback_divider, output_divider),
                        )
                        break

    def instance(self, port, clock, locked):
        """Return the PLL: from the pad of ``port`` to the signals ``clock`` and ``locked``."""
        m = Module()
        m.submodules.oscillator = oscillator = io.Buffer("i", port)
        zeros = {name: Const(0, 1) for name in ("RESET", "RESET_P", "CLKFB")}
        zeros |= {name: Const(0, 6) for name in ("FBDSEL", "IDSEL", "ODSEL")}
        zeros |= {name: Const(0, 4) for name in ("PSDA", "DUTYDA", "FDLY")}
        m.submodules.pll = Instance(
            "rPLL",
            p_FCLKIN=f"{self.oscillator / 1e6:g}",
            p_IDIV_SEL=self.input_divider - 1,
            p_FBDIV_SEL=self.feedback_divider - 1,
            p_ODIV_SEL=self.output_divider,
            i_CLKIN=oscillator.i,
            o_CLKOUT=clock,
            o_LOCK=locked,
            **{f"i_{name}": value for name, value in zeros.items()},
        )
        return m


GOWIN = Family(
    name="Gowin",
    lut_inputs=4,
    levels_per_stage=3,
    adders_from=64,
    chains_adders=True,
    synthesis="synth_gowin",
    bare_options=("-noiopads",),
    no_carries="-noalu",
    cells={
        "LUT4": Cell.LUT,
        "ALU": Cell.LUT,  # a carry takes the place of a look-up table
        "DFF": Cell.FLIP_FLOP,
        "BSRAM": Cell.BLOCK_RAM,
        "MULT18X18": Cell.MULTIPLIER,
    },
    models="gowin/cells_sim.v",
    suffix="fs",
    pll=GowinPll,
    # nextpnr's delays of these are partly guesses.
    fmax_margin=1.25,
)

# Writing to look-up tables and multipliers are not supported by the open tools.
GOWIN5 = replace(
    GOWIN,
    name="Gowin Arora V",
    distributed_rams=False,
    register_ram_bits=160,
    synthesis="synth_gowin -family gw5a",
    synthesis_options=("-nowidelut", "-nolutram"),
    pll=None,
)


def _device(name, family, luts, block_rams, multipliers, example, part):
    packing = ("nextpnr-himbaechel-gowin", "--device", example, "--vopt", f"family={name}")
    return Device(
        name, family, luts, block_rams, 18432, (36, 18, 9, 4, 2, 1), multipliers, 18, packing,
        clock=27_000_000 if family is GOWIN else 50_000_000, part=part,
    )  # fmt: skip


GW1N_9C = _device("GW1N-9C", GOWIN, 8640, 26, 20, "GW1NR-LV9QN88PC6/I5", "GW1NR?-[LU]V9")
GW2A_18C = _device("GW2A-18C", GOWIN, 20736, 46, 48, "GW2AR-LV18QN88C8/I7", "GW2AR?-LV18")
GW5A_25A = _device("GW5A-25A", GOWIN5, 23040, 56, 0, "GW5A-LV25MG121NC1/I0", "GW5A-[LE]V25")
GW5AST_138C = _device(
    "GW5AST-138C", GOWIN5, 138240, 340, 0, "GW5AST-LV138FPG676AC1/I0", "GW5AS?T?-LV138"
)

DEVICES = (GW1N_9C, GW2A_18C, GW5A_25A, GW5AST_138C)
