"""FPGA families and the resources of devices: what a folding may spend, and what tools are told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


__all__ = ["Cell", "Device", "Family"]


class Cell(Enum):
    """Kinds of cells that a design may run out of."""

    LUT = "look-up tables"
    FLIP_FLOP = "flip-flops"
    BLOCK_RAM = "block RAMs"
    MULTIPLIER = "multipliers"


@dataclass(frozen=True, eq=False)
class Family:
    """How logic is best expressed for a family of FPGAs, and what its tools are called.

    Attributes
    ----------
    name : str
    lut_inputs : int
        Of a look-up table.
    levels_per_stage : int
        Levels of a popcount between two registers; the first one also holds the XNOR in front.
    adders_from : int or None
        Width from which on a tree of adders is smaller than one of counters (bench/popcount.py), if
        there is one.
    luts_per_added_synapse : float
        Gate and popcount where that is a tree of adders (bench/popcount.py).
    luts_per_partial_product : float
        Of two bits, in a product without a multiplier.
    paired_chains : bool
        Whether a carry chain takes its look-up tables in pairs, and a pair more where it begins,
        and where its carry leaves it.
    packed_registers : bool
        Whether flip-flops without logic take look-up tables, as they do in whole logic cells.
    distributed_rams : bool
        Whether look-up tables may be memories that are written.
    synthesis : str
        Command of Yosys.
    synthesis_options : tuple of str
        Of it, always.
    multiplier_options : tuple of str
        Of it, where a device has multipliers, and where it has none.
    bare_options : tuple of str
        Of it, for logic that is measured on its own, without pads, buffers of clocks and
        multipliers.
    no_carries : str
        Its option that forbids carry chains.
    cells : mapping of str to Cell
        What nextpnr calls its cells.
    models : str or None
        Where Yosys has Verilog models of all cells of a netlist, if it has them.
    suffix : str or None
        Of files with bitstreams, where these are built.
    pll : type or None
        Settings of its PLL; see `xnorflow.boards.clock`.
    """

    name: str
    lut_inputs: int
    levels_per_stage: int
    synthesis: str
    no_carries: str
    adders_from: int | None = None
    luts_per_added_synapse: float = 2.0
    luts_per_partial_product: float = 2.8
    paired_chains: bool = False
    packed_registers: bool = False
    distributed_rams: bool = True
    synthesis_options: tuple[str, ...] = ("-nowidelut",)  # wide multiplexers ruin popcounts
    multiplier_options: tuple[str, str] = ("", "-nodsp")
    bare_options: tuple[str, ...] = ()
    cells: Mapping[str, Cell] = field(default_factory=dict)
    models: str | None = None
    suffix: str | None = None
    pll: type | None = None

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class Device:
    """Resources of one FPGA, any of which there may be none of.

    Attributes
    ----------
    luts : int
        Look-up tables of as many inputs as the family's have.
    block_rams : int
        Block RAMs, each of ``block_ram_bits`` bits.
    block_ram_widths : tuple of int
        Widths of their words, the widest first.
    multipliers : int
        Hard multipliers (DSPs).
    multiplier_bits : int
        Width of their two signed operands.
    packer : tuple of str
        Command that packs logic without pads for it, where there is one.
    """

    name: str
    family: Family
    luts: int
    block_rams: int
    block_ram_bits: int
    block_ram_widths: tuple[int, ...]
    multipliers: int
    multiplier_bits: int
    packer: tuple[str, ...] = ()

    @property
    def synthesis_options(self) -> str:
        """Options of the family's command of Yosys, for what it may use."""
        family = self.family
        multipliers = family.multiplier_options[0 if self.multipliers else 1]
        block_rams = "" if self.block_rams else "-nobram"
        return " ".join(filter(None, [*family.synthesis_options, multipliers, block_rams]))

    @property
    def synthesis(self) -> str:
        """Command of Yosys with these options."""
        return f"{self.family.synthesis} {self.synthesis_options}".strip()
