"""Count bits by adders that stand end to end in carry chains, on families whose carries are plain.

In a row ``{…, x₂, p₂, x₁, p₁} + {…, y₂, p₂, y₁, p₁}`` the position of a bit p that stands in both
operands has the carry of the field below it as its sum, and p as its carry. So an adder of n bits
takes n + 1 positions, and one more bit as its carry. In a tree, two counts of n bits each and a
bit make a count of 2n + 1.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.carry_adders import grouped
from xnorflow.hw.arithmetic.registers import registered


__all__ = ["ChainedCount", "chained_count_latency", "chained_count_luts"]


@dataclass(frozen=True, eq=False)
class _Bit:
    """Bit of the input."""

    index: int

    level = 0
    width = most = 1


@dataclass(frozen=True, eq=False)
class _Joined:
    """``low + 2 * high``, or without ``low`` just ``2 * high``: no logic."""

    low: _Bit | None
    high: "_Bit | _Sum"

    @property
    def level(self):
        return self.high.level

    @property
    def most(self):
        """Largest value."""
        return (self.low is not None) + 2 * self.high.most

    @property
    def width(self):
        return 1 + self.high.width


@dataclass(frozen=True, eq=False)
class _Sum:
    """``left + right + carry``: an adder."""

    left: "_Bit | _Joined | _Sum"
    right: "_Bit | _Joined | _Sum | None"
    carry: _Bit

    @property
    def level(self):
        """Adders on the longest way to the sum."""
        return 1 + max(term.level for term in (self.left, self.right) if term is not None)

    @property
    def most(self):
        return self.left.most + 1 + (0 if self.right is None else self.right.most)

    @property
    def width(self):
        return self.most.bit_length()

    @property
    def adder(self):
        """Width of the adder."""
        return max(term.width for term in (self.left, self.right) if term is not None)


def _plan(ones, twos):
    """Sum of bits that count once and of bits that count twice; None if there are none."""
    if not ones and not twos:
        return None
    if twos and len(ones) < 2:
        return _Joined(ones[0] if ones else None, _plan(twos, []))
    if not twos and len(ones) == 1:
        return ones[0]
    *ones, carry = ones
    # Left is the largest 2ⁿ-1, so that no code of its count is wasted; ones, too, as many as there
    # are, since an adder without them is shorter.
    rest = len(ones) + 2 * len(twos)
    left = (1 << (rest + 1).bit_length() - 1) - 1
    if left == rest + 1:
        left //= 2
    some = min(left, len(ones) - (rest - left) % 2)
    double = (left - some) // 2
    return _Sum(_plan(ones[:some], twos[:double]), _plan(ones[some:], twos[double:]), carry)


def _adders(term):
    """Adders of a sum, each after those that feed it."""
    match term:
        case _Joined():
            return _adders(term.high)
        case _Sum():
            return [*_adders(term.left), *_adders(term.right), term]
    return []


@cache
def _counted(ones, twos):
    """Sum of all bits, and the adders of each level in groups that share a chain."""
    bits = [_Bit(index) for index in range(ones + twos)]
    total = _plan(bits[:ones], bits[ones:])
    levels = [[] for _ in range(total.level)]
    for adder in _adders(total):
        levels[adder.level - 1].append(adder)
    return total, [_chains(adders) for adders in levels]


def _chains(adders):
    """Adders in groups, those of one bit on their own: they are full adders of look-up tables."""
    single = [(adder,) for adder in adders if adder.adder == 1]
    wide = [adder for adder in adders if adder.adder > 1]
    return single + grouped(wide, lambda adder: adder.adder)


def _levels(ones, twos):
    # What makes the ones and twos is a level, too.
    return 1 + _counted(ones, twos)[0].level


def chained_count_latency(ones, twos, family):
    """Clock cycles that a `ChainedCount` takes, without building one."""
    return ceil(_levels(ones, twos) / family.levels_per_stage)


@cache
def chained_count_luts(ones, twos):
    """Look-up tables, of positions of carry chains and of full adders."""
    _, levels = _counted(ones, twos)
    return sum(
        sum(adder.adder + 1 for adder in group) + (group[0].adder > 1)
        for groups in levels
        for group in groups
    )


class ChainedCount(wiring.Component):
    """Sum of bits that count once, and of bits that count twice; takes a word every enabled cycle.

    What makes these bits may be two levels of look-up tables in front of it, as
    `xnorflow.hw.arithmetic.xnor_groups` takes. A platform may have a method ``get_count``: see
    `xnorflow.hw.arithmetic.behavioural`.

    Parameters
    ----------
    ones, twos : :class:`int`
        How many there are, at least two and one.
    family : :class:`Family`
        FPGA family: decides how many levels lie between registers.

    Attributes
    ----------
    latency : :class:`int`
        Enabled clock cycles from ``i`` to ``o``.

    Members
    -------
    i : ``In(ones + twos)``
        Those that count once first.
    en : ``In(1)``
        Clock enable of all registers.
    o : ``Out(range(ones + 2 * twos + 1))``
        The sum, ``latency`` enabled cycles ago.
    """

    gate = None

    def __init__(self, ones, twos, family):
        self.ones = ones
        self.twos = twos
        self.family = family
        self._total, self._groups = _counted(ones, twos)
        self._levels = _levels(ones, twos)
        self.latency = chained_count_latency(ones, twos, family)
        super().__init__({
            "i": In(ones + twos),
            "en": In(1),
            "o": Out(range(ones + 2 * twos + 1)),
        })

    @property
    def parts(self):
        """Bits that count 2ⁿ times: first bit, number of bits, and n."""
        return [(0, self.ones, 0), (self.ones, self.twos, 1)]

    def elaborate(self, platform):
        if hasattr(platform, "get_count"):
            return platform.get_count(self)
        m = Module()
        # By term and by the registers that it has passed.
        self._values = {}
        for level, groups in enumerate(self._groups, 1):
            before, after = (self._stage(each) for each in (level, level + 1))
            for n, adders in enumerate(groups):
                operands = [
                    [self._at(m, term, before) for term in (adder.carry, adder.left, adder.right)]
                    for adder in adders
                ]
                name = f"sum{level}_{n}"
                for k, (adder, total) in enumerate(
                    zip(adders, _added(m, adders, operands, name), strict=True)
                ):
                    value = total[: adder.width]
                    if after > before:
                        value = registered(m, self.en, value, f"{name}_{k}_late")
                    self._values[adder, after] = value
        m.d.comb += self.o.eq(self._at(m, self._total, self.latency))
        return m

    def _stage(self, level):
        """Registers behind a level, which are spread evenly; the last is at the output."""
        return level * self.latency // self._levels

    def _at(self, m, term, stage):
        """Value of a term behind so many registers."""
        match term:
            case None:
                return Const(0, 0)
            case _Joined():
                low = Const(0, 1) if term.low is None else self._at(m, term.low, stage)
                return Cat(low, self._at(m, term.high, stage))
            case _Bit() if stage == 0:
                return self.i[term.index]
        key = term, stage
        if key not in self._values:
            value = self._at(m, term, stage - 1)
            self._values[key] = registered(m, self.en, value, f"late{len(self._values)}")
        return self._values[key]


def _added(m, adders, operands, name):
    """Sums of adders in a chain, from their carries and operands."""
    if adders[0].adder == 1:
        ((c, a, b),) = operands
        parity = Signal(name=f"{name}_parity")
        b = b if len(b) else Const(0, 1)
        m.d.comb += parity.eq(a ^ b)
        return [Cat(parity ^ c, Mux(parity, c, a))]
    rows, starts, width = ([], []), [], 0
    for adder, (carry, *values) in zip(adders, operands, strict=True):
        for row, value in zip(rows, values, strict=True):
            row += [carry, value, Const(0, adder.adder - len(value))]
        starts.append(width + 1)
        width += 1 + adder.adder
    # Without `keep`, Yosys could merge this addition with others.
    total = Signal(width + 1, name=name, attrs={"keep": 1})
    m.d.comb += total.eq(Cat(rows[0]) + Cat(rows[1]))
    return [
        total[start : start + adder.adder + 1] for adder, start in zip(adders, starts, strict=True)
    ]
