"""Adders of products in carry cells: the gates of two synapses cost nothing in front of them.

A half of ECP5's CCU2C has a table L4 of its inputs A, B, C and D, and a table L2 of A and B, which
is L4's where C and D are 0. Its sum is ``L4 ^ carry``, its carry ``carry if L4 else L2``. So with
L4 = A ^ B ^ C ^ D it adds two products that are XORs of an activation and a weight, with
L4 = A & B ^ C & D two that are ANDs. A half in front of each adder starts it with a third product:
its table L4 is 0, so that its carry is that product, and its sum the carry of the adder before it.

Source of the cell's behaviour: Yosys' model of it, ecp5/ccu2c_sim.vh, with which the tests prove
that the cells are additions.
"""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorflow.ir import Gate


__all__ = [
    "CarryAdders",
    "CarryCells",
    "adder_halves",
    "carry_adders_verilog",
    "grouped",
    "product",
]

_ADD = {Gate.XNOR: "16'b0110100110010110", Gate.AND: "16'b0111100010001000"}
_START = {Gate.XNOR: "16'b0000000000000110", Gate.AND: "16'b0000000000001000"}
"""With C and D at 1."""

_ZERO = "16'b0000000000000000"

_LONGEST = 24
"""Halves of carry cells in a row: timing analysis takes carries to pass through all of them."""


def product(gate, activation, weight):
    """Products of activations with weights: XOR, with weights inverted, or AND."""
    return activation & weight if gate is Gate.AND else activation ^ weight


def adder_halves(widths):
    """Halves of carry cells that a `CarryAdders` takes; they come in pairs."""
    halves = sum(width + 1 for width in widths) + 1
    return halves + halves % 2


def grouped(adders, width):
    """Adders in groups, none of which takes many halves.

    Parameters
    ----------
    adders : list
        Those that may be in one chain.
    width : callable
        From an adder to its width.

    Returns
    -------
    list of tuple
    """
    groups = [[]]
    for adder in sorted(adders, key=width):
        if groups[-1] and adder_halves(map(width, groups[-1] + [adder])) > _LONGEST:
            groups.append([])
        groups[-1].append(adder)
    return [tuple(group) for group in groups if group]


class CarryAdders(wiring.Component):
    """Adders one behind the other in a chain of carry cells: x + y + carry, all of products.

    A platform that has such cells has a method ``get_carry_adders``, which takes this component and
    returns what is elaborated instead of it.

    Parameters
    ----------
    widths : tuple of :class:`int`
        Of the adders.
    gate : :class:`Gate`
        What a product is: see `product`.

    Members
    -------
    x, xw, y, yw : ``In(sum(widths))``
        Activations of the operands' bits and their weights, those of the first adder first. A bit
        that is no product has the weight with which it stays what it is.
    c, cw : ``In(len(widths))``
        Activations and weights of the carries.
    sum : ``Out(sum(widths) + len(widths))``
        The sums, each a bit wider than its operands.
    """

    def __init__(self, widths, gate):
        self.widths = widths
        self.gate = gate
        bits, count = sum(widths), len(widths)
        operands = {name: In(bits) for name in ("x", "xw", "y", "yw")}
        super().__init__({
            **operands, "c": In(count), "cw": In(count), "sum": Out(bits + count),
        })  # fmt: skip

    def elaborate(self, platform):
        if hasattr(platform, "get_carry_adders"):
            return platform.get_carry_adders(self)
        m = Module()
        x, y, carries = (
            product(self.gate, *pair)
            for pair in ((self.x, self.xw), (self.y, self.yw), (self.c, self.cw))
        )
        sums, start = [], 0
        for width, carry in zip(self.widths, carries, strict=True):
            end = start + width
            sums.append((x[start:end] + y[start:end] + carry)[: width + 1])
            start = end
        m.d.comb += self.sum.eq(Cat(sums))
        return m


_MODULE = """
module {name}(
  input [{top}:0] x, xw, y, yw,
  input [{carries}:0] c, cw,
  output [{sums}:0] sum
);
`ifdef SYNTHESIS
{cells}`else
{additions}`endif
endmodule
"""


@dataclass(frozen=True)
class _Half:
    """A half of a cell: its table, its inputs as Verilog, and the sum's bit that it delivers."""

    table: str
    inputs: tuple[str, str, str, str] = ("1'b0", "1'b0", "1'b0", "1'b0")
    output: str = ""


class CarryCells:
    """Modules in Verilog that stand for `CarryAdders`, for a platform's ``get_carry_adders``.

    Parameters
    ----------
    prefix : :class:`str`
        Of the names of modules.

    Attributes
    ----------
    modules : dict of :class:`str` to :class:`str`
        Text of each module, by its name.
    """

    def __init__(self, prefix):
        self.prefix = prefix
        self.modules = {}

    def get(self, adders):
        """Describe adders as an instance of a module."""
        name = "_".join([f"{self.prefix}_{adders.gate.value}", *map(str, adders.widths)])
        if name not in self.modules:
            self.modules[name] = carry_adders_verilog(f"\\{name} ", adders.widths, adders.gate)
        inputs = {f"i_{each}": getattr(adders, each) for each in ("x", "xw", "y", "yw", "c", "cw")}
        return Instance(name, **inputs, o_sum=adders.sum)


def carry_adders_verilog(name, widths, gate):
    """Verilog of a module with the ports of `CarryAdders`: cells for synthesis, else additions.

    Synthesisers define ``SYNTHESIS``, as IEEE 1364.1 wants them to.
    """
    bits, count = sum(widths), len(widths)
    operator = "&" if gate is Gate.AND else "^"
    additions, bit = [], 0
    for n, width in enumerate(widths):
        part = f"[{bit + width - 1}:{bit}]"
        terms = (
            f"({each} {operator} {each.replace('[', 'w[')})"
            for each in (f"x{part}", f"y{part}", f"c[{n}]")
        )
        additions.append(f"  assign sum[{bit + n + width}:{bit + n}] = {' + '.join(terms)};\n")
        bit += width
    return _MODULE.format(
        name=name,
        top=bits - 1,
        carries=count - 1,
        sums=bits + count - 1,
        cells=_cells(widths, gate),
        additions="".join(additions),
    )


def _cells(widths, gate):
    halves, bit, before = [], 0, ""
    for n, width in enumerate(widths):
        halves.append(_Half(_START[gate], (f"c[{n}]", f"cw[{n}]", "1'b1", "1'b1"), before))
        for k in range(bit, bit + width):
            inputs = f"x[{k}]", f"xw[{k}]", f"y[{k}]", f"yw[{k}]"
            halves.append(_Half(_ADD[gate], inputs, f"sum[{k + n}]"))
        bit += width
        before = f"sum[{bit + n}]"
    halves.append(_Half(_ZERO, output=before))
    if len(halves) % 2:
        halves.append(_Half(_ZERO))
    pairs = list(zip(halves[::2], halves[1::2], strict=True))
    lines = [f"  wire [{len(pairs)}:0] carry;\n  assign carry[0] = 1'b0;\n"]
    for n, pair in enumerate(pairs):
        ports = [
            f".{port}{k}({value})"
            for k, half in enumerate(pair)
            for port, value in zip("ABCDS", (*half.inputs, half.output), strict=True)
        ]
        lines.append(
            f"  CCU2C #(.INIT0({pair[0].table}), .INIT1({pair[1].table}), "
            f'.INJECT1_0("NO"), .INJECT1_1("NO"))\n'
            f"    cell_{n} (.CIN(carry[{n}]), {', '.join(ports)}, .COUT(carry[{n + 1}]));\n"
        )
    return "".join(lines)
