"""Counters in behavioural form, for simulations of many frames: same counts, same cycles."""

from amaranth import *

from xnorflow.ir import Gate


__all__ = ["BehaviouralCounts"]

_MODULE = """
module {name} (
  input clk,
  input en,
  input [{inputs}:0] i,
  input [{weights}:0] w,
  output [{top}:0] o
);
  wire [{inputs}:0] products = {products};
  wire [{top}:0] count_0 = {count};
{registers}  assign o = count_{latency};
endmodule
"""

_REGISTER = """  reg [{top}:0] count_{n} = 0;
  always @(posedge clk)
    if (en) count_{n} <= count_{before};
"""


class BehaviouralCounts:
    """Modules in SystemVerilog that stand for counters, for a platform's ``get_count``.

    A counter has ports ``i``, ``en``, ``o`` and, if it has a ``gate``, weights ``w``; a
    ``latency``; and ``parts``: first bit, number of bits, and exponent n of those bits of ``i``,
    or of the products, that count 2ⁿ times.

    Parameters
    ----------
    prefix : :class:`str`
        Of the names of modules.
    """

    def __init__(self, prefix):
        self._prefix = prefix
        self._names = {}

    @property
    def modules(self):
        """Text of all modules."""
        return "".join(text.replace("{name}", f"\\{name} ") for text, name in self._names.items())

    def get(self, counter):
        """Describe a counter as an instance of a module."""
        weights = Const(0, 1) if counter.gate is None else counter.w
        text = _text(counter, len(weights))
        name = self._names.setdefault(text, f"{self._prefix}.count_{len(self._names)}")
        m = Module()
        m.submodules.count = Instance(
            name, i_clk=ClockSignal(), i_en=counter.en, i_i=counter.i, i_w=weights, o_o=counter.o
        )
        return m


def _text(counter, weights):
    """Text of a module, but for its name."""
    top = len(counter.o) - 1
    operator = {None: "", Gate.AND: "&", Gate.XNOR: "^"}[counter.gate]
    copies = len(counter.i) // weights
    parts = (
        f"($countones(products[{first + bits - 1}:{first}]) << {exponent})"
        for first, bits, exponent in counter.parts
        if bits
    )
    return _MODULE.format(
        name="{name}",
        inputs=len(counter.i) - 1,
        weights=weights - 1,
        top=top,
        products=f"i {operator} {{{copies}{{w}}}}" if operator else "i",
        count=" + ".join(parts),
        registers="".join(
            _REGISTER.format(top=top, n=n + 1, before=n) for n in range(counter.latency)
        ),
        latency=counter.latency,
    )
