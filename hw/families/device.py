"""FPGA families and the resources of devices: what a folding may spend, and what tools are told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


__all__ = ["Cell", "Device", "Family"]


class Cell(Enum):
    """Kinds of cells that a design may run out of."""

    LUT = "look-up tables"
    FLIP_FLOP = "flip-flops"
    BLOCK_RAM = "block RAMs"
    MULTIPLIER = "multipliers"


@dataclass(frozen=True, eq=False)
class Family:
    """A family of FPGAs: how logic is best expressed for it, and what its tools are called."""

    name: str
    lut_inputs: int  # of a look-up table
    levels_per_stage: int  # of a popcount, between registers; the first also holds the XNOR
    synthesis: str  # command of Yosys
    no_carries: str  # its option that forbids carry chains
    adders_from: int | None = None
    """Width of a popcount from which on adders are smaller than counters (bench/popcount.py)."""
    luts_per_added_synapse: float = 2.0
    """Gate and popcount where that is a tree of adders (bench/popcount.py)."""
    luts_per_partial_product: float = 2.8  # of two bits, in a product without a multiplier
    paired_chains: bool = False
    """Whether carry chains take look-up tables in pairs, and one pair more at each end."""
    carries_add_products: bool = False
    """Whether carry cells add products (`xnorflow.hw.arithmetic.carry_adders`)."""
    chains_adders: bool = False
    """Whether adders end to end in carry chains are smallest (bench/popcount.py)."""
    luts_per_register: float = 0  # of a flip-flop without logic
    distributed_rams: bool = True  # whether look-up tables may be memories that are written
    dual_ports: bool = False
    """Whether rows that are loaded use both ports of block RAMs, each for a half."""
    register_ram_bits: int = 0
    """Bits up to which Yosys makes memories that are written of flip-flops, if not of those."""
    synthesis_options: tuple[str, ...] = ("-nowidelut",)  # wide multiplexers ruin popcounts
    multiplier_options: tuple[str, str] = ("", "-nodsp")  # with multipliers, and without
    bare_options: tuple[str, ...] = ()
    """For logic that is measured on its own, without pads, clock buffers and multipliers."""
    cells: Mapping[str, Cell] = field(default_factory=dict)  # by their names in nextpnr
    cell_parts: Mapping[str, int] = field(default_factory=dict)
    """Of how many of those a look-up table consists, where it is not one."""
    models: str | None = None  # where Yosys has Verilog models of all cells, if it has them
    tidy: Callable[[dict[str, Any]], None] | None = None
    """Changes a netlist of Yosys, as JSON, so that nextpnr takes fewer cells for it."""
    placement: str = "--placer heap"  # options of nextpnr
    suffix: str | None = None  # of files with bitstreams, where these are built
    pll: type | None = None  # settings of its PLL: see xnorflow.boards.clock
    fmax_margin: float = 1.0
    """By how much nextpnr's highest clock must exceed the clock; 1 where its timing is exact."""

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
    memories : Cell or None
        Look-up tables or block RAMs: what memories are made of that may be either. Of what they
        take the smaller part, if nothing is said.
    clock : int
        Frequency in Hz that designs without a board are planned for.
    part : str
        Regular expression of its makers' part numbers, which need not be in capitals, where these
        do not begin with the name.
    runtime_weights : bool
        Whether memories of weights and thresholds are written at run time.
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
    memories: Cell | None = None
    clock: int = 50_000_000
    part: str = ""
    runtime_weights: bool = False

    def __str__(self):
        return self.name

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
