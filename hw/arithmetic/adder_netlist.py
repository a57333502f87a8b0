"""Adders that add constant sets of bits: a netlist that is known, and checked, before it is built.

A *literal* is a bit or its complement: ``2 * bit``, or one more for the complement. Bit −1 is the
constant 0, so that −2 and −1 are the literals 0 and 1. *Times* are levels of logic from the inputs
on; a register lies wherever a time is a multiple of the levels of a stage.
"""

import heapq
from dataclasses import dataclass, field, replace

import numpy as np


__all__ = ["ONE", "ZERO", "Adder", "AdderNetlist", "Slot", "complement"]

ZERO, ONE = -2, -1

_SHORTEST = 2
"""Width from which on a carry chain is smaller than full adders of look-up tables."""

_CHAIN_LEVELS = 2
"""Levels of logic whose delay a carry chain has."""


def complement(literal):
    """Complement of a literal."""
    return literal ^ 1


@dataclass(frozen=True, eq=False)
class Adder:
    """``x + y + carry``: one of width 1 is a full adder of look-up tables, others are carry chains.

    Attributes
    ----------
    x, y : tuple of :class:`int`
        Literals of the operands, the lowest first.
    carry : :class:`int`
        Literal of the carry.
    first : :class:`int`
        Bit that is the lowest of the sum, which has one bit more than the operands.
    time : :class:`int`
        When all operands are there.
    """

    x: tuple[int, ...]
    y: tuple[int, ...]
    carry: int
    first: int
    time: int

    @property
    def width(self):
        return len(self.x)

    @property
    def levels(self):
        """Levels of logic."""
        return 1 if self.width == 1 else _CHAIN_LEVELS


@dataclass(frozen=True)
class Slot:
    """Carry of an adder that is not used: 2**power can be added there."""

    adder: int
    power: int


class _Columns(list):
    """Literals that are to be added, by their powers of two; the first that are there first."""

    def __init__(self, time, width):
        super().__init__([] for _ in range(width + 1))
        self._time = time
        self._count = 0

    def put(self, power, literal):
        """Add a literal; nothing if that is too high, or 0."""
        if power < len(self) - 1 and literal != ZERO:
            heapq.heappush(self[power], (self._time(literal), self._count, literal))
            self._count += 1

    def put_all(self, power, literals):
        """Add the literals of a number."""
        for n, literal in enumerate(literals):
            self.put(power + n, literal)

    def take(self, power):
        """Take the first literal of a power."""
        return heapq.heappop(self[power])[2]


@dataclass(eq=False)
class AdderNetlist:
    """Adders, each after those that feed it; methods add more of them.

    Attributes
    ----------
    inputs : :class:`int`
        Number of bits that come in: 0…inputs − 1.
    levels_per_stage : :class:`int`
        Levels of logic between registers, at least 2.
    adders : list of Adder
    times : list of :class:`int`
        When each bit is there.
    """

    inputs: int
    levels_per_stage: int = 4
    adders: list[Adder] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def __post_init__(self):
        self.times = [0] * self.inputs

    def time(self, literal):
        """When a literal is there."""
        return 0 if literal < 0 else self.times[literal >> 1]

    def add(self, x, y, carry=ZERO):
        """Add two operands and a carry, and give the literals of the sum, the lowest first."""
        if len(x) == 1 and ZERO not in (x[0], y[0], carry) and ONE in (x[0], y[0], carry):
            constant, *others = sorted((x[0], y[0], carry))
            x, y, carry = [others[0]], [others[1]], constant
        if len(x) == 1 and carry == ZERO and ONE in (x[0], y[0]):
            other = y[0] if x[0] == ONE else x[0]
            return [complement(other), other]
        start = max(map(self.time, (*x, *y, carry)))
        adder = Adder(tuple(x), tuple(y), carry, len(self.times), start)
        within = start % self.levels_per_stage
        if within + adder.levels > self.levels_per_stage:
            start += self.levels_per_stage - within
            adder = Adder(tuple(x), tuple(y), carry, len(self.times), start)
        self.adders.append(adder)
        bits = range(adder.first, adder.first + adder.width + 1)
        self.times += [start + adder.levels] * len(bits)
        return [2 * bit for bit in bits]

    def total(self, terms, width, slots=None, *, spare=False):
        """Add literals of given powers of two, modulo ``2**width``.

        Those that are there first are added first. An adder starts at the lowest power that two
        stand at, with a third as its carry if there is one, and goes on while there are two.

        Parameters
        ----------
        terms : iterable of (:class:`int`, :class:`int`)
            Powers and literals.
        width : :class:`int`
            Of the sum.
        slots : list of Slot, optional
            Gets the places where constants can be added that cost nothing.
        spare : :class:`bool`
            Whether two literals of power 0 may be left.

        Returns
        -------
        list of :class:`int`
            ``width`` literals, the lowest first; one that is left comes last.
        """
        columns, constant = _Columns(self.time, width), 0
        for power, literal in terms:
            if literal == ONE:
                constant += 1 << power
            else:
                columns.put(power, literal)
        for power in range(width):
            columns.put(power, ONE if constant >> power & 1 else ZERO)
        for start in range(width):
            while (found := len(columns[start])) > 1:
                if start == 0 and found == 2 and spare:
                    break
                self._add_column(columns, start, [] if slots is None else slots)
        total = [columns.take(power) if columns[power] else ZERO for power in range(width)]
        return [*total, columns.take(0)] if columns[0] else total

    def _add_column(self, columns, start, slots):
        """Add what stands at a power, and what comes with it in the same adder."""
        third = len(columns[start]) > 2
        if not third and columns[start][0][2] == ONE:
            columns.take(start)
            columns.put_all(start, self.add([columns.take(start)], [ONE]))
            return
        # A last carry goes on through single bits, to where there is none.
        least = 2 if third or any(len(column) > 2 for column in columns[start:]) else 1
        end = start + 1
        while len(columns[end]) >= least:
            end += 1
        if end - start < _SHORTEST:
            end = start + 1
        x = [columns.take(power) for power in range(start, end)]
        y = [columns.take(power) if columns[power] else ZERO for power in range(start, end)]
        carry = columns.take(start) if third else ZERO
        columns.put_all(start, self.add(x, y, carry))
        if carry == ZERO:
            slots.append(Slot(len(self.adders) - 1, start))

    def fill(self, slot):
        """Let an adder add a constant."""
        self.adders[slot.adder] = replace(self.adders[slot.adder], carry=ONE)

    def ripple(self, columns):
        """Add literals of given powers of two where only the highest bit of the sum is needed.

        Then a carry is a look-up table, and there is nothing else. Time is not saved.

        Parameters
        ----------
        columns : list of list of :class:`int`
            Literals of each power.

        Returns
        -------
        list of :class:`int`
            As many literals, the lowest first.
        """
        columns = [*map(list, columns), []]
        for power, column in enumerate(columns[:-1]):
            while len(column) > 1:
                column.sort(key=self.time)
                a, b, c = (column.pop(0) if column else ZERO for _ in range(3))
                total, carry = self.add([a], [b], c)
                column.append(total)
                columns[power + 1].append(carry)
        return [column[0] if column else ZERO for column in columns[:-1]]

    def cells(self, results):
        """Look-up tables of four inputs, or halves of carry cells, each in the place of one.

        Parameters
        ----------
        results : iterable of :class:`int`
            Literals that are needed.
        """
        needed = {literal >> 1 for literal in results}
        count = 0
        for adder in self.adders[::-1]:
            used = [bit in needed for bit in range(adder.first, adder.first + adder.width + 1)]
            if any(used):
                needed.update(literal >> 1 for literal in (*adder.x, *adder.y, adder.carry))
                count += sum(used) if adder.width == 1 else adder.width + 2
        return count

    def forms(self, numbers):
        """What numbers are in terms of the inputs, found by undoing the adders one by one.

        Parameters
        ----------
        numbers : list of list of :class:`int`
            Literals of each, the lowest first; it is known modulo ``2**len``.

        Returns
        -------
        weights : array of int, (numbers, inputs)
        constants : array of int, (numbers,)

        Raises
        ------
        :exc:`AssertionError`
            If a number has the sum of an adder in pieces.
        """
        masks = np.array([(1 << len(number)) - 1 for number in numbers], np.int64)
        weights = np.zeros((len(self.times), len(numbers)), np.int64)
        constants = np.zeros(len(numbers), np.int64)
        for n, literals in enumerate(numbers):
            for power, literal in enumerate(literals):
                _credit(weights, constants, literal, np.int64(1 << power), n)
        for adder in self.adders[::-1]:
            end = adder.first + adder.width + 1
            unit = weights[adder.first].copy()
            powers = 1 << np.arange(adder.width + 1)
            if (weights[adder.first : end] - powers[:, None] * unit & masks).any():
                raise AssertionError(f"the sum from bit {adder.first} on is added in pieces")
            _credit(weights, constants, adder.carry, unit)
            for power, pair in enumerate(zip(adder.x, adder.y, strict=True)):
                for literal in pair:
                    _credit(weights, constants, literal, unit << power & masks)
        return weights[: self.inputs].T & masks[:, None], constants & masks

    def evaluate(self, inputs):
        """Values of all bits.

        Parameters
        ----------
        inputs : array of bool, (inputs, ...)
            Those of the bits that come in.

        Returns
        -------
        array of bool, (bits + 1, ...)
            The last is that of bit −1.
        """
        values = np.zeros((len(self.times) + 1, *inputs.shape[1:]), bool)
        values[: self.inputs] = inputs
        for adder in self.adders:
            carry = self.literal(values, adder.carry)
            for n, (a, b) in enumerate(zip(adder.x, adder.y, strict=True)):
                x, y = self.literal(values, a), self.literal(values, b)
                values[adder.first + n] = x ^ y ^ carry
                carry = x & y | carry & (x ^ y)
            values[adder.first + adder.width] = carry
        return values

    @staticmethod
    def literal(values, literal):
        """Value of a literal."""
        return values[literal >> 1] ^ bool(literal & 1)


def _credit(weights, constants, literal, amount, numbers=slice(None)):
    """Count a literal ``amount`` times in some numbers."""
    if literal & 1:
        constants[numbers] += amount
        amount = -amount
    if literal >= 0:
        weights[literal >> 1, numbers] += amount
