"""Plan of a layer whose weights are constants and whose neurons all work in every cycle.

With P the sum of all inputs and Q that of those whose weight bit is 0, a neuron's matches are
M = P − 2Q + |S|, or with the other inputs Q′ in place of Q they are M = 2Q′ − P + N − |S′|. So each
neuron adds at most half of the inputs, none of them inverted; their adders are shared, and P is one
more sum. What is left of each sum, and P, are added in carry chains.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from xnorflow.hw.arithmetic.adder_netlist import ONE, ZERO, AdderNetlist, complement
from xnorflow.hw.arithmetic.adder_sharing import share_adders
from xnorflow.ir import Gate


__all__ = ["LayerSums", "plan_layer"]

_SLOTS = 8
"""Places of a neuron at which constants are tried."""


@dataclass(frozen=True, eq=False)
class LayerSums:
    """What a layer adds, and where its results are.

    Attributes
    ----------
    netlist : AdderNetlist
    numbers : tuple of tuple of :class:`int`
        Literals of each neuron's matches or, where there are thresholds, of their distance to the
        threshold: two's complement, the lowest first.
    popcount : tuple of :class:`int`
        Literals of P; none if it is not needed.
    inverted : tuple of :class:`bool` or None
        Where there are thresholds, results are bits: each number's sign, or its complement.
    """

    netlist: AdderNetlist
    numbers: tuple[tuple[int, ...], ...]
    popcount: tuple[int, ...]
    inverted: tuple[bool, ...] | None

    @property
    def results(self):
        """Literals of each result, the lowest first."""
        if self.inverted is not None:
            signs = zip(self.numbers, self.inverted, strict=True)
            return [[number[-1] if flip else complement(number[-1])] for number, flip in signs]
        return [list(number) for number in self.numbers]

    @property
    def literals(self):
        """Literals of all results."""
        return [*self.popcount, *(literal for result in self.results for literal in result)]

    @property
    def cells(self):
        """Look-up tables of four inputs and halves of carry cells."""
        return self.netlist.cells(self.literals)

    @property
    def latency(self):
        """Registers from inputs to results."""
        last = max(map(self.netlist.time, self.literals))
        return max(1, -(-last // self.netlist.levels_per_stage))


@lru_cache(maxsize=64)
def _planned(packed, height, width, gate, thresholds, popcount, levels):
    weights = np.unpackbits(np.frombuffer(packed, np.uint8))[: height * width]
    weights = weights.reshape(height, width).astype(bool)
    return _plan(weights, gate, thresholds, popcount, levels)


def plan_layer(
    weights,
    gate=Gate.XNOR,
    *,
    thresholds=None,
    inverted=None,
    popcount=False,
    levels_per_stage=4,
) -> LayerSums:
    """Plan a layer.

    Parameters
    ----------
    weights : array of bool, (neurons, inputs)
        Weight bits.
    gate : :class:`Gate`
        What is counted: equal bits (xnor), or bits that are both 1 (and).
    thresholds : array of :class:`int`, (neurons,), optional
        Results are whether counts reach them; without them, results are the counts.
    inverted : array of bool, (neurons,), optional
        Neurons whose result is whether the count is below the threshold.
    popcount : :class:`bool`
        Whether P is a result, too.
    levels_per_stage : :class:`int`
        Levels of logic between registers, at least 2.
    """
    weights = np.asarray(weights, dtype=bool)
    limits = None if thresholds is None else tuple(int(each) for each in thresholds)
    sums = _planned(
        np.packbits(weights).tobytes(), *weights.shape, gate, limits, popcount, levels_per_stage
    )
    return sums if inverted is None else replace(sums, inverted=tuple(map(bool, inverted)))


def _plan(weights, gate, thresholds, popcount, levels):
    members = weights if gate is Gate.AND else ~weights
    count = members.shape[1]
    others = members.sum(axis=1) > count / 2
    rows = np.where(others[:, None], ~members, members)
    limits = [None] * len(rows) if thresholds is None else thresholds
    known = [_known(limit, count) for limit in limits]
    rows[[each is not None for each in known]] = False
    sums = _Sums(rows, popcount or gate is Gate.XNOR or others.any(), levels)
    neurons = []
    for n, (limit, sign) in enumerate(zip(limits, known, strict=True)):
        if sign is not None:
            neurons.append(sign)
            continue
        factor, share, constant = _wanted(rows[n], others[n], gate)
        width = count.bit_length()
        if limit is not None:
            constant -= limit
            width = max((count - limit).bit_length(), (limit - 1).bit_length()) + 1
        neurons.append(sums.neuron(n, factor, share, constant, width))
    numbers = sums.numbers(neurons, signs_only=thresholds is not None)
    layer = LayerSums(
        sums.netlist,
        tuple(map(tuple, numbers)),
        tuple(sums.total) if popcount else (),
        None if thresholds is None else (False,) * len(rows),
    )
    _check(layer, weights, gate, thresholds)
    return layer


def _known(limit, count):
    """Literal of the sign of a distance to a threshold, if that is always the same."""
    if limit is not None and limit <= 0:
        return ZERO
    return ONE if limit is not None and limit > count else None


def _wanted(row, other, gate):
    """Matches as factor * Q + share * P + constant."""
    if gate is Gate.AND:
        return (-1, 1, 0) if other else (1, 0, 0)
    size = int(row.sum())
    return (2, -1, len(row) - size) if other else (-2, 1, size)


@dataclass(frozen=True, eq=False)
class _Neuron:
    """``columns + share * P + constant``, modulo ``2**width``."""

    columns: list
    factor: int
    share: int
    constant: int
    width: int
    slots: list

    @property
    def low(self):
        """What it adds itself: a constant of power 0, where Q has nothing."""
        return abs(self.factor) - 1

    def choices(self):
        """For each set of slots that is filled, what is left to add to P."""
        slots = self.slots[:_SLOTS]
        for chosen in range(1 << len(slots)):
            filled = [slot for n, slot in enumerate(slots) if chosen >> n & 1]
            added = self.factor * sum(1 << slot.power for slot in filled)
            yield (self.constant - added) % (1 << self.width), filled


class _Sums:
    """Sums Q of the rows, and P, in one netlist."""

    def __init__(self, rows, needs_total, levels):
        inputs = rows.shape[1]
        if needs_total:
            rows = np.vstack([rows, np.ones((1, inputs), bool)])
        shared = share_adders(rows)
        self.netlist = AdderNetlist(inputs, levels)
        self._terms = shared.add_to(self.netlist)
        self.total = []
        if needs_total:
            self.total = self.netlist.total(self._terms[-1], inputs.bit_length())
        self._shifted = {}

    def neuron(self, n, factor, share, constant, width):
        """``factor * Q + share * P + constant``, of which Q is added up."""
        slots = []
        shift = abs(factor) - 1
        constant += share < 0  # −P is the complement of P, and 1
        # No adder has room for a second literal and P's lowest.
        spare = share != 0 and (shift == 0 or constant % 2 == 0)
        total = self.netlist.total(self._terms[n], width - shift, slots, spare=spare)
        if factor < 0:
            total = [complement(literal) for literal in total]
            # −Q is the complement of Q, and 1; that of a lone bit, and −1.
            constant -= factor * (1 if len(total) == width - shift else 0)
        columns = [[] for _ in range(width)]
        for power, literal in enumerate(total):
            columns[shift + power % (width - shift)].append(literal)
        return _Neuron(columns, factor, share, constant, width, slots)

    def numbers(self, neurons, *, signs_only):
        """Add P and constants to neurons: numbers of which all bits are needed, or the sign."""
        for neuron, (rest, slots) in zip(neurons, _choose(neurons), strict=True):
            if isinstance(neuron, int):
                yield [neuron]
                continue
            for slot in slots:
                self.netlist.fill(slot)
            low = neuron.low & rest
            shared = self._shared(neuron.share, rest - low, neuron.width)
            columns = [[*column, shared[n]] for n, column in enumerate(neuron.columns)]
            columns[0] += [ONE] * low
            columns = [[each for each in column if each != ZERO] for column in columns]
            if signs_only:
                yield self.netlist.ripple(columns)
            else:
                terms = ((n, each) for n, column in enumerate(columns) for each in column)
                yield self.netlist.total(terms, neuron.width)

    def _shared(self, share, constant, width):
        """P, its complement or nothing, and a constant."""
        key = share, constant, width
        if key not in self._shifted:
            literals = (self.total + [ZERO] * width)[:width] if share else []
            if share < 0:
                literals = [complement(literal) for literal in literals]
            terms = [(n, ONE) for n in range(width) if constant >> n & 1]
            terms += enumerate(literals)
            self._shifted[key] = self.netlist.total(terms, width)
        return self._shifted[key]


def _choose(neurons):
    """For each neuron, what is added to P and the slots that are filled, so that few P differ."""
    choices = [{} if isinstance(each, int) else dict(_keyed(each)) for each in neurons]
    waiting = {n for n, each in enumerate(choices) if each}
    chosen = [(0, [])] * len(neurons)
    while waiting:
        users = Counter(key for n in waiting for key in choices[n])
        key = max(users, key=lambda key: (key[1] == 0, users[key], key))
        for n in [n for n in waiting if key in choices[n]]:
            chosen[n] = choices[n][key]
            waiting.remove(n)
    return chosen


def _keyed(neuron):
    for rest, slots in reversed(list(neuron.choices())):
        yield (neuron.share, rest & ~neuron.low, neuron.width), (rest, slots)


def _check(layer, weights, gate, thresholds):
    """Check that numbers are what they are to be, by their forms and on some inputs."""
    netlist = layer.netlist
    signs = weights.astype(int) if gate is Gate.AND else 2 * weights.astype(int) - 1
    offsets = np.zeros(len(weights), int) if gate is Gate.AND else (~weights).sum(axis=1)
    if thresholds is not None:
        offsets -= thresholds
    known = [n for n, number in enumerate(layer.numbers) if number[-1] >= 0]
    numbers = [layer.numbers[n] for n in known]
    forms, constants = netlist.forms(numbers)
    masks = np.array([(1 << len(number)) - 1 for number in numbers], int)
    same = np.array_equal(forms, signs[known] & masks[:, None])
    if not same or not np.array_equal(constants, offsets[known] & masks):
        raise AssertionError("the adders of a layer do not add what its neurons count")
    rng = np.random.default_rng(0)
    inputs = rng.random((netlist.inputs, 64)) < np.linspace(0, 1, 64)
    values = netlist.evaluate(inputs)
    expected = signs @ inputs + offsets[:, None]
    for number, total in zip(layer.numbers, expected, strict=True):
        bits = [netlist.literal(values, literal) for literal in number]
        found = sum(bit.astype(int) << n for n, bit in enumerate(bits))
        wrong = bits[-1] != (total < 0) if thresholds is not None else found != total
        if np.any(wrong):
            raise AssertionError("the adders of a layer do not add what its neurons count")
