"""Count products in carry cells: the heart of binary layers on ECP5, for weights of run time.

Of 2n + 1 products, two counts of n products each meet in an adder whose carry is the last one; the
smallest adders take products themselves. Activations of several bits come into the smallest adders
as whole numbers, and the lowest bits of as many others are the carries; what these have above the
lowest bit is counted likewise, and added.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil
from operator import attrgetter

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.carry_adders import CarryAdders, adder_halves, grouped, product
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.ir import Gate


__all__ = ["CarryCount", "carry_count_halves", "carry_count_latency"]

_LEVELS_PER_STAGE = 2
"""Adders between registers."""


@dataclass(frozen=True, eq=False)
class _Product:
    """Bits of an activation from ``plane`` on, each times its weight."""

    lane: int
    plane: int
    width: int

    level = 0

    @property
    def most(self):
        return (1 << self.width) - 1


@dataclass(frozen=True, eq=False)
class _Sum:
    """``left + 2**skip * (right + carry)``: an adder."""

    left: "_Product | _Sum"
    right: "_Product | _Sum"
    carry: _Product | None
    skip: int = 0

    @property
    def level(self):
        """Adders on the longest way to the sum."""
        return 1 + max(self.left.level, self.right.level)

    @property
    def most(self):
        """Largest value."""
        return self.left.most + (self.right.most + (self.carry is not None) << self.skip)

    @property
    def width(self):
        return self.most.bit_length()

    @property
    def adder(self):
        """Width of the adder."""
        return max(self.left.width - self.skip, self.right.width)


def _tree(leaves, carries):
    """Sum of ``leaves`` and of the ``carries``, of which there are fewer; the lowest adders first
    have one.
    """
    if len(leaves) == 1:
        return leaves[0]
    # The left half is a power of two, so that no code of its count is wasted.
    half = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = _tree(leaves[:half], carries), _tree(leaves[half:], carries)
    return _Sum(left, right, carries.pop(0) if carries else None)


def _plan(lanes, planes, plane=0, above=()):
    """Sum of the ``lanes`` from ``plane`` on, and of lanes of which just what is ``above`` counts.

    It is in units of 2**plane.
    """
    whole = len(lanes) // 2 + 1
    carries = [_Product(lane, plane, 1) for lane in lanes[whole:]]
    total = _tree([_Product(lane, plane, planes - plane) for lane in lanes[:whole]], carries)
    rest = [*lanes[whole:], *above]
    if plane + 1 == planes or not rest:
        return total
    carry, above = None, ()
    if len(rest) > 1:
        *rest, last = rest
        carry = _Product(last, plane + 1, 1)
        above = (last,) if plane + 2 < planes else ()
    return _Sum(total, _plan(rest, planes, plane + 1, above), carry, skip=1)


def _adders(term):
    """Adders of a sum, each after those that feed it."""
    if isinstance(term, _Product):
        return {}
    return {**_adders(term.left), **_adders(term.right), term: None}


def _levels(total):
    """Adders of each level, in groups that share a chain of cells."""
    levels = [[] for _ in range(total.level)]
    for adder in _adders(total):
        levels[adder.level - 1].append(adder)
    return [grouped(adders, attrgetter("adder")) for adders in levels]


def _counted(width, planes, spare):
    """Sum of ``width`` lanes; of ``spare`` ones behind them the lowest bit does not count."""
    above = range(width, width + spare) if planes > 1 else ()
    return _plan(list(range(width)), planes, above=tuple(above))


def carry_count_latency(width, planes=1, spare=0):
    """Clock cycles that a `CarryCount` takes, without building one."""
    return ceil(_counted(width, planes, spare).level / _LEVELS_PER_STAGE)


@cache
def carry_count_halves(width, planes=1, spare=0):
    """Halves of carry cells, each of which takes the place of a look-up table."""
    levels = _levels(_counted(width, planes, spare))
    return sum(
        adder_halves([adder.adder for adder in group]) for level in levels for group in level
    )


class CarryCount(wiring.Component):
    """Sum of products of activations and weights of a bit; takes a word every enabled cycle.

    A platform may have a method ``get_count``: see `xnorflow.hw.arithmetic.behavioural`.

    Parameters
    ----------
    width : :class:`int`
        Lanes that are counted, at least 3.
    gate : :class:`Gate`
        What a product is: see `xnorflow.hw.arithmetic.carry_adders.product`.
    planes : :class:`int`
        Bits of an activation; that of plane n counts 2ⁿ times.
    spare : :class:`int`
        Lanes behind them, 0 or 1, whose lowest bit does not count.

    Attributes
    ----------
    latency : :class:`int`
        Enabled clock cycles from ``i`` and ``w`` to ``o``.

    Members
    -------
    i : ``In(planes * (width + spare))``
        Activations: all bits of the lowest plane first.
    w : ``In(width + spare)``
        Weights.
    en : ``In(1)``
        Clock enable of all registers.
    o : ``Out(...)``
        The sum, ``latency`` enabled cycles ago.
    """

    def __init__(self, width, gate=Gate.XNOR, *, planes=1, spare=0):
        self.width = width
        self.gate = gate
        self.planes = planes
        self.spare = spare
        self._total = _counted(width, planes, spare)
        self.latency = carry_count_latency(width, planes, spare)
        super().__init__({
            "i": In(planes * (width + spare)),
            "w": In(width + spare),
            "en": In(1),
            "o": Out(range(self._total.most + 1)),
        })

    @property
    def parts(self):
        """Products that count 2ⁿ times: first bit, number of bits, and n."""
        size = self.width + self.spare
        return [(n * size, size if n else self.width, n) for n in range(self.planes)]

    def elaborate(self, platform):
        if hasattr(platform, "get_count"):
            return platform.get_count(self)
        m = Module()
        # By term and by the registers that it has passed: activations and weights of bits.
        self._values = {}
        for level, groups in enumerate(_levels(self._total)):
            before, after = (self._stage(each) for each in (level, level + 1))
            for n, adders in enumerate(groups):
                m.submodules[f"level{level + 1}_{n}"] = chain = CarryAdders(
                    tuple(adder.adder for adder in adders), self.gate
                )
                sums = list(chain.sum)
                for k, adder in enumerate(adders):
                    m.d.comb += self._connected(m, chain, adders, k, before)
                    low = self._bits(m, adder.left, before)[: adder.skip]
                    total = Cat(low, sums[: adder.adder + 1])[: adder.width]
                    sums = sums[adder.adder + 1 :]
                    name = f"sum{level + 1}_{n}_{k}"
                    if after > before:
                        total = registered(m, self.en, total, name)
                    self._values[adder, after] = total, None
        m.d.comb += self.o.eq(self._bits(m, self._total, self.latency))
        return m

    def _bits(self, m, term, stage):
        """Value of a term behind so many registers."""
        value, weight = self._at(m, term, stage)
        return value if weight is None else product(self.gate, value, weight.replicate(len(value)))

    def _stage(self, level):
        """Registers behind a level, which are spread evenly; the last is at the output."""
        return level * self.latency // self._total.level

    def _connected(self, m, chain, adders, k, stage):
        """Connect the operands of adder k to its part of a chain."""
        adder = adders[k]
        start, end = (sum(each.adder for each in adders[:n]) for n in (k, k + 1))
        neutral = Const(self.gate is Gate.AND, 1)
        ports = (chain.x, chain.xw), (chain.y, chain.yw)
        for (bits, weights), (term, skip) in zip(
            ports, ((adder.left, adder.skip), (adder.right, 0)), strict=True
        ):
            value, weight = self._at(m, term, stage)
            weight = neutral if weight is None else weight
            yield bits[start:end].eq(value[skip:])
            yield weights[start:end].eq(weight.replicate(len(value) - skip))
        carry, weight = Const(0, 1), neutral
        if adder.carry is not None:
            carry, weight = self._at(m, adder.carry, stage)
        yield [chain.c[k].eq(carry), chain.cw[k].eq(weight)]

    def _at(self, m, term, stage):
        """Value of a term behind so many registers, and the weight of its bits if they have one."""
        key = term, stage
        if key in self._values:
            return self._values[key]
        if stage == 0:
            size = self.width + self.spare
            bits = (self.i[(term.plane + n) * size + term.lane] for n in range(term.width))
            found = Cat(bits), self.w[term.lane]
        else:
            value, weight = self._at(m, term, stage - 1)
            name = f"late{len(self._values)}"
            value = registered(m, self.en, value, name)
            if weight is not None:
                weight = registered(m, self.en, weight, f"{name}_weight")
            found = value, weight
        self._values[key] = found
        return found
