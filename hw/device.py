"""FPGA families and the resources of devices: what a folding may spend."""

from dataclasses import dataclass
from enum import Enum


__all__ = ["ECP5_85F", "UP5K", "Device", "Family"]


class Family(Enum):
    """FPGA families that differ in how logic is best expressed for them."""

    ICE40 = "iCE40"
    ECP5 = "ECP5"
    GOWIN = "Gowin"
    XILINX7 = "7-series"


@dataclass(frozen=True)
class Device:
    """Resources of one FPGA, any of which there may be none of.

    Attributes
    ----------
    luts : int
        Look-up tables of four inputs (six on 7-series).
    block_rams : int
        Block RAMs, each of ``block_ram_bits`` bits.
    block_ram_widths : tuple of int
        Widths of their words, the widest first.
    multipliers : int
        Hard multipliers (DSPs).
    multiplier_bits : int
        Width of their two signed operands.
    """

    name: str
    family: Family
    luts: int
    block_rams: int
    block_ram_bits: int
    block_ram_widths: tuple[int, ...]
    multipliers: int
    multiplier_bits: int

    @property
    def synthesis_options(self) -> str:
        """Options of Yosys' ``synth_ice40``, ``synth_ecp5``, …, for what it may use."""
        options = []
        if self.family is Family.ICE40:
            options += ["-dsp"] if self.multipliers else []
        else:
            # Wide multiplexers ruin popcounts.
            options += ["-nowidelut"] + ([] if self.multipliers else ["-nodsp"])
        return " ".join(options + ([] if self.block_rams else ["-nobram"]))


UP5K = Device("iCE40UP5K", Family.ICE40, 5280, 30, 4096, (16, 8, 4, 2), 8, 16)
ECP5_85F = Device("LFE5U-85F", Family.ECP5, 83640, 208, 18432, (36, 18, 9, 4, 2, 1), 156, 18)
