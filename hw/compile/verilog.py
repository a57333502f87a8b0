"""Verilog of a component, in a form that simulators and synthesisers read alike.

Amaranth's own ``back.verilog`` describes combinational logic by blocks ``always @*``. Those run
when a signal changes that they read; where none ever does, whether they run at all depends on
the simulator and on the level of the language. Here every combinational signal is a continuous
assignment, which no simulator may forget, and every register has a block of its own with its
reset and its enable::

    always @(posedge clk)
      if (rst) valid <= 1'h0;
      else if (en) valid <= i__valid;

Registers have their reset values from power-on. Read-only memories have their contents in the
text, so that it works wherever it is, and so have those of weights that are loaded. Other memories
that are written start undefined: nothing may depend on what they hold at first.
"""

import re
from collections.abc import Iterable, Iterator

from amaranth import *
from amaranth._toolchain.yosys import find_yosys  # where `amaranth.back.verilog` has it from
from amaranth.back import rtlil

from xnorflow.hw.arithmetic.behavioural import BehaviouralCounts
from xnorflow.hw.arithmetic.carry_adders import CarryCells
from xnorflow.hw.arithmetic.constants import Rom
from xnorflow.hw.arithmetic.loaded_memory import LoadedRam
from xnorflow.hw.compile.names import readable


__all__ = ["component_verilog"]

_OLDEST_YOSYS = (0, 40)  # the oldest that Amaranth writes for

_PASSES = """
proc -norom -noopt
opt_clean
opt_merge
opt_dff -simple-dffe
opt_clean -purge
memory_collect
attrmap -remove generator -remove top -remove src
attrmap -remove amaranth.hierarchy -remove amaranth.decoding
attrmap -remove unused_bits
attrmap -modattr -remove generator -remove top -remove src
attrmap -modattr -remove amaranth.hierarchy -remove amaranth.decoding
write_verilog -norename
"""
"""Yosys' passes. Attributes go that mean something to Amaranth and Yosys only."""

_WRITTEN = re.compile(r"cell \$memwr_v2 .*\n +parameter \\MEMID (.*)\n")
_ZEROS = re.compile(
    r"  cell \$meminit_v2 .*\n +parameter \\MEMID (.*)\n(?: +parameter .*\n)*"
    r" +connect \\ADDR .*\n +connect \\DATA \d+'0*\n +connect \\EN .*\n  end\n"
)
_MODULE = re.compile(r"module \\?(\S+)")
_INSTANCE = re.compile(r"  rom_(\d+) ")

_ROM = """
module {name} (
  input clk,
  input en,
  input [{address_top}:0] address,
  output reg [{top}:0] data
);
{attributes}  reg [{top}:0] rows [0:{last}];
{contents}  always @(posedge clk)
    if (en) data <= rows[address];
endmodule
"""

_RAM = """
module {name} (
  input clk,
  input en,
  input half,
  input [{address_top}:0] address,
  input [{chunks_top}:0] write,
  input [{address_top}:0] write_address,
  input [{data_top}:0] write_data,
  output [{top}:0] data
);
{memories}endmodule
"""

_CHUNK = """\
{attributes}  (* no_rw_check *) // what is read while it is written is not needed
  reg [{top}:0] {name} [0:{last}];
{contents}"""

_PORTS = """\
  reg [{top}:0] {name}_data;
  assign data[{high}:{low}] = {name}_data;
  always @(posedge clk) begin
    if (write[{n}]) {name}[write_address] <= write_data[{top}:0];
    if (en) {name}_data <= {name}[address];
  end
"""

_HALVED_PORTS = """\
  reg [{top}:0] {name}_low, {name}_high;
  assign data[{high}:{low}] = {name}_low;
  assign data[{upper_high}:{upper_low}] = {name}_high;
  always @(posedge clk)
    if (en) {name}_low <= {name}[{{address, 1'b0}}];
  always @(posedge clk) begin
    if (write[{n}]) {name}[{{address, half}}] <= write_data[{top}:0];
    else if (en) {name}_high <= {name}[{{address, half}}];
  end
"""

_ROWS = 32
"""Rows in an ``initial`` block: Yosys' time to read one grows with the square of its length."""


def component_verilog(component, name: str, *, behavioural: bool = False) -> str:
    """Verilog of a component and all that it consists of, a module each.

    Parameters
    ----------
    component : Component
        What to write; its signature's members are the ports.
    name : str
        Name of the top module; those of submodules begin with it.
    behavioural : bool
        Whether counters of bits are in behavioural form, which simulates faster and needs
        SystemVerilog: for simulation only.

    Returns
    -------
    str
        The same for the same component and the same version of Yosys.
    """
    platform = _Platform(name, behavioural)
    written = rtlil.convert(component, name=name, platform=platform, emit_src=False)
    modules = written.split("\nmodule ")
    text = "\nmodule ".join(map(_undefined_at_first, modules))
    yosys = find_yosys(lambda version: version >= _OLDEST_YOSYS)
    script = f"read_rtlil <<rtlil\n{text}\nrtlil\n{_PASSES}"
    verilog = yosys.run(["-q", "-"], script, ignore_warnings=True)
    verilog = _with_roms(readable(verilog).splitlines(keepends=True), platform.roms)
    return "".join([*verilog, *platform.carry_cells.modules.values(), platform.counts.modules])


class _Platform:
    """Collects what has a module in Verilog of its own.

    The n-th read-only memory becomes an instance of ``rom_n``: as text they take a fraction of the
    time that they would take bit by bit through Amaranth. Adders in carry cells are cells for
    synthesis only. In behavioural form, counters are modules of their own.
    """

    def __init__(self, top: str, behavioural: bool):
        self.roms = []
        self.carry_cells = CarryCells(f"{top}.carry_adders")
        self.get_carry_adders = self.carry_cells.get
        self.counts = BehaviouralCounts(top)
        if behavioural:
            self.get_count = self.counts.get

    def get_rom(self, rom: Rom):
        """Describe a read-only memory as an instance of a module that is written by `_rom`."""
        return self._instance(rom)

    def get_ram(self, ram: LoadedRam):
        """The same for one that is loaded."""
        return self._instance(
            ram,
            i_half=ram.half,
            i_write=ram.write,
            i_write_address=ram.write_address,
            i_write_data=ram.write_data,
        )

    def _instance(self, rom, **ports):
        self.roms.append(rom)
        return Instance(
            f"rom_{len(self.roms) - 1}",
            i_clk=ClockSignal(),
            i_en=rom.en,
            i_address=rom.address,
            o_data=rom.data,
            **ports,
        )


def _undefined_at_first(module: str) -> str:
    """A module in RTLIL, without the zeros with which Amaranth fills memories that are written."""
    written = set(_WRITTEN.findall(module))
    return _ZEROS.sub(lambda cell: "" if cell[1] in written else cell[0], module)


def _with_roms(lines: Iterable[str], roms: list[Rom]) -> Iterator[str]:
    """Verilog with a module for each read-only memory, named by the one that has its instance."""
    module, needed = "", []
    for line in lines:
        if found := _MODULE.match(line):
            module = found[1]
        elif found := _INSTANCE.match(line):
            name = f"\\{module}.rom "
            needed.append((name, roms[int(found[1])]))
            line = f"  {name}{line[found.end() :]}"
        yield line
    for name, rom in needed:
        yield _ram(name, rom) if isinstance(rom, LoadedRam) else _rom(name, rom)


def _rom(name: str, rom: Rom) -> str:
    """Module of a memory with contents."""
    return _ROM.format(
        name=name,
        address_top=len(rom.address) - 1,
        top=rom.width - 1,
        last=len(rom.rows) - 1,
        attributes=_attributes(rom),
        contents=_contents("rows", rom.width, rom.rows),
    )


def _attributes(rom):
    return "".join(f'  (* {key} = "{value}" *)\n' for key, value in rom.style.attributes().items())


def _contents(name: str, width: int, rows: list[int]) -> str:
    """Statements that fill a memory."""
    digits, lines = -(-width // 4), []
    for start in range(0, len(rows), _ROWS):
        numbered = enumerate(rows[start : start + _ROWS], start)
        lines.append("  initial begin\n")
        lines += [f"    {name}[{n}] = {width}'h{row:0{digits}x};\n" for n, row in numbered]
        lines.append("  end\n")
    return "".join(lines)


def _ram(name: str, ram: LoadedRam) -> str:
    """Module of a memory that is loaded: a memory for each chunk."""
    words, memories, low = ram.loading.words(ram.width, ram.rows), [], 0
    half, halved = ram.loading.word_bits(ram.width), ram.loading.halved
    for n, bits in enumerate(ram.loading.chunks(ram.width)):
        chunk = [word >> low & (1 << bits) - 1 for word in words]
        facts = {"name": f"chunk_{n}", "n": n, "top": bits - 1, "low": low, "high": low + bits - 1}
        facts |= {"upper_low": half + low, "upper_high": half + low + bits - 1}
        facts |= {"last": len(words) - 1, "attributes": _attributes(ram)}
        contents = _contents(facts["name"], bits, chunk)
        memories.append(_CHUNK.format(contents=contents, **facts))
        memories.append((_HALVED_PORTS if halved else _PORTS).format(**facts))
        low += bits
    return _RAM.format(
        name=name,
        address_top=len(ram.address) - 1,
        chunks_top=len(ram.write) - 1,
        data_top=len(ram.write_data) - 1,
        top=(2 if halved else 1) * half - 1,
        memories="".join(memories),
    )
