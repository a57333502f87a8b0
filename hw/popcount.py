"""Count the ones of a word: the compressor tree at the heart of every binary layer."""

from math import ceil

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.device import Family


__all__ = ["Popcount", "popcount_latency"]


# Compressor levels between two registers. The first level also holds the XNOR in front.
_LEVELS_PER_STAGE = {Family.ICE40: 4, Family.ECP5: 3, Family.GOWIN: 3, Family.XILINX7: 3}


def _full_adder(bits):
    """Add three bits. The carry reads the sum, so that with an XNOR in front of every bit
    both together take three LUT4 and not four: {a b}, {parity c}, {parity sum a}.
    """
    a, b, c = bits
    parity = a ^ b
    total = parity ^ c
    return [total, Mux(parity, total ^ parity, a)]


def _compress(columns, counter):
    """One level: every three bits of a weight become one of it and one of twice of it.

    Columns hold anything; ``counter`` maps a list of three to a list of two.
    """
    result = [[] for _ in range(len(columns) + 1)]
    for weight, column in enumerate(columns):
        whole = len(column) - len(column) % 3
        result[weight] += column[whole:]
        for n in range(0, whole, 3):
            for power, bit in enumerate(counter(column[n : n + 3])):
                result[weight + power].append(bit)
    return result if result[-1] else result[:-1]


def _levels(width):
    """Return the number of levels, the final addition included."""
    columns, levels = [[None] * width], 0
    while max(len(column) for column in columns) > 2:
        columns, levels = _compress(columns, lambda _: [None, None]), levels + 1
    return levels + any(len(column) > 1 for column in columns)


def popcount_latency(width, family):
    """Clock cycles that a `Popcount` of ``width`` bits takes, without building one."""
    return ceil(_levels(width) / _LEVELS_PER_STAGE[family])


class Popcount(wiring.Component):
    """Count the bits of ``i`` that are set.

    A tree of 3:2 counters, at the end an adder; takes a word every enabled cycle. The first level
    hangs directly on ``i``: an XNOR or AND in front of it is absorbed by its look-up tables.
    The output is registered, but for width 1, which is a wire.

    Parameters
    ----------
    width : :class:`int`
        Number of bits to count, at least 1.
    family : :class:`Family`
        FPGA family: sets how many levels lie between registers.

    Attributes
    ----------
    latency : :class:`int`
        Enabled clock cycles from ``i`` to ``o``.

    Members
    -------
    i : ``In(width)``
        The word.
    en : ``In(1)``
        Clock enable of all registers: while low, the whole pipeline stands still.
    o : ``Out(range(width + 1))``
        The number of ones of ``i``, ``latency`` enabled cycles ago.

    Raises
    ------
    :exc:`ValueError`
        If the width is less than 1.
    """

    def __init__(self, width, family=Family.ECP5):
        if width < 1:
            raise ValueError(f"Popcount width must be at least 1, not {width!r}")
        self.width = width
        self.family = family
        self._levels = _levels(width)
        self.latency = popcount_latency(width, family)
        super().__init__({
            "i": In(width),
            "en": In(1),
            "o": Out(range(width + 1)),
        })

    def elaborate(self, platform):
        m = Module()

        def stage(columns, level):
            """Name the bits of a level, and register them where a stage ends."""
            # Stage boundaries are spread evenly; the last is at the output.
            registered = level * self.latency // self._levels > (
                (level - 1) * self.latency // self._levels
            )
            domain = m.d.sync if registered else m.d.comb
            result = []
            for weight, column in enumerate(columns):
                named = Signal(len(column), name=f"level{level}_weight{weight}", reset_less=True)
                with m.If(self.en if registered else 1):
                    domain += named.eq(Cat(column))
                result.append(list(named))
            return result

        columns = [list(self.i)]
        for level in range(1, self._levels + 1):
            if max(len(column) for column in columns) > 2:
                columns = stage(_compress(columns, _full_adder), level)
            else:
                rows = [Cat([*column, C(0, 1)][n] for column in columns) for n in (0, 1)]
                total = (rows[0] + rows[1])[: len(self.o)]
                columns = stage([[bit] for bit in total], level)
        m.d.comb += self.o.eq(Cat(columns))

        return m
