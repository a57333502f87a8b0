"""Lattice ECP5."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth import *
from amaranth.lib import io

from xnorflow.hw.families.device import Cell, Device, Family


__all__ = [
    "DEVICES",
    "ECP5",
    "ECP5_12F",
    "ECP5_25F",
    "ECP5_45F",
    "ECP5_85F",
    "Ecp5Pll",
]


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


def disconnect_carries(netlist: dict[str, Any]) -> None:
    """Disconnect carries that nobody reads, and those that a cell ignores.

    nextpnr takes two look-up tables for each of them, wherever a chain begins or ends. A cell that
    starts with a table of zeros hands on what is generated in it; see
    `xnorflow.hw.arithmetic.carry_adders`.

    Parameters
    ----------
    netlist : dict
        What Yosys' ``write_json`` writes; it is changed.
    """
    for module in netlist["modules"].values():
        cells = [cell for cell in module["cells"].values() if cell["type"] == "CCU2C"]
        read = {
            bit
            for cell in module["cells"].values()
            for port, bits in cell["connections"].items()
            if cell["port_directions"].get(port) != "output"
            for bit in bits
        } | {bit for port in module["ports"].values() for bit in port["bits"]}
        for cell in cells:
            ports = cell["connections"]
            starts = cell["parameters"]["INIT0"].startswith("0000") and (
                ports["C0"] == ports["D0"] == ["1"]
            )
            if starts and isinstance(ports["CIN"][0], str):
                ports["CIN"] = ["x"]
            if ports["COUT"][0] not in read:
                ports["COUT"] = ["x"]


# A tree of adders is never smaller: carry chains take too many look-up tables at their ends.
ECP5 = Family(
    name="ECP5",
    lut_inputs=4,
    levels_per_stage=3,
    paired_chains=True,
    carries_add_products=True,
    dual_ports=True,
    synthesis="synth_ecp5",
    no_carries="-noccu2",
    cells={
        "TRELLIS_COMB": Cell.LUT,
        "TRELLIS_FF": Cell.FLIP_FLOP,
        "DP16KD": Cell.BLOCK_RAM,
        "MULT18X18D": Cell.MULTIPLIER,
    },
    tidy=disconnect_carries,
    # Carry chains lengthen the wires of the other placer by a half (bench/place.py).
    placement="--placer static",
    suffix="bit",
    pll=Ecp5Pll,
)

_SIZES = {"12F": (24288, 56, 28), "25F": (24288, 56, 28), "45F": (43848, 108, 72),
          "85F": (83640, 208, 156)}  # fmt: skip
"""Look-up tables, block RAMs, multipliers. A 12F is a 25F's die, all of which nextpnr takes."""


def _device(series, size):
    luts, block_rams, multipliers = _SIZES[size]
    prefix = {"LFE5U": "", "LFE5UM": "um-", "LFE5UM5G": "um5g-"}[series]
    packing = (
        "nextpnr-ecp5", f"--{prefix}{size[:2]}k", "--package", "CABGA756" if size == "85F" else
        "CABGA381", "--out-of-context",
    )  # fmt: skip
    return Device(
        f"{series}-{size}", ECP5, luts, block_rams, 18432, (36, 18, 9, 4, 2, 1), multipliers, 18,
        packing,
    )  # fmt: skip


ECP5_12F, ECP5_25F, ECP5_45F, ECP5_85F = (_device("LFE5U", size) for size in _SIZES)

DEVICES = (
    ECP5_12F, ECP5_25F, ECP5_45F, ECP5_85F,
    *(_device(series, size) for series in ("LFE5UM", "LFE5UM5G") for size in ("25F", "45F", "85F")),
)  # fmt: skip
