"""Threshold-compare: counts or integers become bits."""

from itertools import pairwise

import numpy as np
from amaranth import *

from xnorflow.errors import DesignError
from xnorflow.hw.arithmetic.constants import (
    ConstantTable,
    narrowest_shape,
)
from xnorflow.hw.arithmetic.resources import (
    CONTROL,
    Resources,
    bits_of,
    chain,
    products,
    registers,
    weights,
)
from xnorflow.hw.ops.channel_constants import ConstantUnit, channel_contents
from xnorflow.hw.ops.stage import LaneStage
from xnorflow.hw.streams.words import value_bits, value_shape


__all__ = ["MultiThreshold", "MultiThresholdStage", "Threshold", "ThresholdStage"]


def _compared(values):
    """Shape of all thresholds that values between two bounds may be compared with."""
    low, high = (int(each) for each in values)
    return Shape.cast(range(min(0, low), max(0, high + 1) + 1))


def threshold_latency(node):
    """Clock cycles that a `Threshold` takes; the P term costs one."""
    return ConstantTable.latency + (1 if node.popcount_weights is None else 2)


class Threshold(ConstantUnit):
    """Compare each value with its channel's threshold.

    Computes ``2**fraction * x + popcount_weight * P >= threshold``, complemented on inverted
    channels.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 3, and with the P term 4.
    """

    def __init__(self, node, source, *, lanes, device=None):
        super().__init__(node, source, lanes=lanes, device=device)
        self.latency = threshold_latency(node)

    @staticmethod
    def columns(node):
        """Thresholds, and where there are any weights of P and directions."""
        columns = {"threshold": node.thresholds}
        if node.popcount_weights is not None:
            columns["weight"] = node.popcount_weights
        if node.inverted is not None:
            columns["inverted"] = node.inverted.astype(np.int64)
        return {"constants": columns}

    @staticmethod
    def loaded_shapes(node, source):
        """Shapes of all columns: of thresholds, those that the comparison may have."""
        low, high = node.bounds(source)
        shapes = {"threshold": _compared((low.min(), high.max()))}
        if node.popcount_weights is not None:
            shapes["weight"] = narrowest_shape(node.popcount_weights)
        return shapes | ({} if node.inverted is None else {"inverted": unsigned(1)})

    def elaborate(self, platform):
        m = Module()
        # Cycles 1 and 2: the word waits for its constants.
        en, word, row = self._fetch(m)

        at_least = _comparison(self._tables["constants"], row)
        stages = []
        for n in range(self.lanes):
            count = word.lanes[n] << self.node.fraction
            inverted = row.inverted[n] if self.node.inverted is not None else Const(0)
            bit = Signal(name=f"bit_{n}", reset_less=True)
            m.d.comb += self.o.p.lanes[n].eq(bit)
            if self.node.popcount_weights is None:
                # Cycle 3: compare.
                stages.append(bit.eq(at_least(count, "threshold", n) ^ inverted))
            else:
                # Cycle 3: one multiplication, with the popcount that all channels share.
                terms = [count - row.threshold[n], row.weight[n] * word.popcount, inverted]
                margin, product, flip = waiting = [
                    Signal(term.shape(), name=f"{name}_{n}", reset_less=True)
                    for name, term in zip(("margin", "product", "flip"), terms, strict=True)
                ]
                stages += [r.eq(term) for r, term in zip(waiting, terms, strict=True)]
                # Cycle 4: compare.
                stages.append(bit.eq((margin + product >= 0) ^ flip))
        with m.If(en):
            m.d.sync += stages

        return m


class MultiThreshold(ConstantUnit):
    """Count the thresholds of its channel that each value reaches, and give the code of so many.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 4.
    """

    latency = ConstantTable.latency + 2

    @staticmethod
    def columns(node):
        """Thresholds, a column for each step, and where there are any directions."""
        columns = {f"threshold_{n}": row for n, row in enumerate(node.thresholds)}
        if node.inverted is not None:
            columns["inverted"] = node.inverted.astype(np.int64)
        return {"constants": columns}

    @staticmethod
    def loaded_shapes(node, source):
        """Shapes of all columns."""
        compared = _compared((source.type.low, source.type.high))
        shapes = {f"threshold_{n}": compared for n in range(node.steps)}
        return shapes | ({} if node.inverted is None else {"inverted": unsigned(1)})

    def elaborate(self, platform):
        m = Module()
        # Cycles 1 and 2: the word waits for its constants.
        en, word, row = self._fetch(m)

        at_least = _comparison(self._tables["constants"], row)
        node, stages = self.node, []
        for n in range(self.lanes):
            # Cycle 3: compare with all thresholds. Those that are reached come first.
            inverted = row.inverted[n] if node.inverted is not None else Const(0)
            reached = Signal(node.steps, name=f"reached_{n}", reset_less=True)
            found = [at_least(word.lanes[n], f"threshold_{k}", n) for k in range(node.steps)]
            # The first k are not reached where the last k are to be.
            flipped = Cat(found) ^ inverted.replicate(node.steps)
            stages.append(reached.eq(Mux(inverted, Cat(reversed(list(flipped))), flipped)))
            # Cycle 4: encode how many.
            level = Signal(value_shape(node.type), name=f"level_{n}", reset_less=True)
            m.d.comb += self.o.p.lanes[n].eq(level)
            stages.append(level.eq(_encode(reached, node.codes)))
        with m.If(en):
            m.d.sync += stages

        return m


def _comparison(table, row):
    """Function that says whether a value reaches the n-th lane's constant in a column of a row.

    If all words need the same row, constants are part of the logic.
    """
    if len(table.rows) > 1 or table.loaded:
        return lambda value, column, n: value >= row[column][n]
    fixed = row.shape().from_bits(table.rows[0])
    return lambda value, column, n: _at_least(value, fixed[column][n])


def _encode(reached, codes):
    """One of the codes, by the number of ones of a thermometer code, whose lowest come first."""
    return Cat(Cat(reached[k] for k in steps).xor() for steps in _changes(codes))


def _changes(codes):
    """For each bit of codes, the steps at which it changes."""
    together = [a ^ b for a, b in pairwise(codes)]
    return [
        [k for k, bits in enumerate(together) if bits >> n & 1]
        for n in range(codes[-1].bit_length())
    ]


def _at_least(value, constant):
    """Whether a value reaches a constant, bit by bit from the lowest.

    That is an AND or an OR a bit, three of which fit a look-up table of four inputs. A subtraction
    in a carry chain would take one a bit.
    """
    bits = list(value)
    if value.shape().signed:
        bits[-1] = ~bits[-1]
        constant += 1 << len(bits) - 1
    if constant >> len(bits):  # negative, or too large
        return Const(constant < 0)
    result = Const(1)
    for n, bit in enumerate(bits):
        result = bit & result if constant >> n & 1 else bit | result
    return result


class _LoadedStage(LaneStage):
    """A stage of a node whose constants may be loaded."""

    def loaded(self, device, node):
        columns = self.component.columns(node)["constants"]
        shapes = self.component.loaded_shapes(self.node, self.source)
        for name, values in columns.items():
            room = 1 << shapes[name].width
            low = -room // 2 if shapes[name].signed else 0
            if values.min() < low or values.max() >= low + room:
                raise DesignError(
                    f"{node.name}: the values of {name} are from {values.min()} to {values.max()}, "
                    f"but its memory holds those from {low} to {low + room - 1}"
                )
        return channel_contents(
            columns,
            self.source,
            lanes=self.lanes,
            device=device,
            classes=getattr(node, "classes", None),
            shapes=shapes,
        )


class ThresholdStage(_LoadedStage):
    """Compare with thresholds."""

    component = Threshold

    def registers(self, device):
        return threshold_latency(self.node)

    def resources(self, device, depth=None):
        """A comparison a lane, behind words that wait for their thresholds."""
        node, lanes, value = self.node, self.lanes, value_bits(self.source)
        classes = len(np.atleast_2d(node.thresholds))
        words = -(-self.source.channels // lanes) * classes
        shift = _trailing_zeros(node.thresholds) if node.fraction == 0 else 0
        threshold = bits_of(node.thresholds)
        if device.runtime_weights:
            shift, threshold = 0, _shape_of(self, "threshold").width
        bits = max(1, value - shift)
        total = Resources(luts=CONTROL) + registers(device, 2 * lanes * bits)
        if node.popcount_weights is not None:
            weight = bits_of(node.popcount_weights)
            chains = chain(device, threshold) + chain(device, max(threshold, weight + value))
            total += Resources(luts=lanes * chains)
            total += products(device, lanes, value, weight)
            return total + weights(device, lanes * (threshold + weight), words)
        if words == 1 and not device.runtime_weights:
            return total + Resources(luts=lanes * -(-(bits - 1) // 3))
        total += Resources(luts=lanes * chain(device, bits, carry_out=True))
        return total + weights(device, lanes * threshold, words)

    def build(self, device, depth):
        return Threshold(self.node, self.source, lanes=self.lanes, device=device)


class MultiThresholdStage(_LoadedStage):
    """Compare with several thresholds."""

    component = MultiThreshold
    facts = ("lanes", "node.steps")

    def resources(self, device, depth=None):
        """Comparisons and an encoder a lane, behind words that wait for their thresholds."""
        node, lanes, bits = self.node, self.lanes, value_bits(self.source)
        classes = 1 if node.classes is None else node.thresholds.shape[1]
        words = -(-self.source.channels // lanes) * classes
        total = Resources(luts=CONTROL) + registers(device, lanes * (2 * bits + node.steps))
        constant = words == 1 and not device.runtime_weights
        compare = -(-(bits - 1) // 3) if constant else chain(device, bits, carry_out=True)
        encoder = sum(-(-len(steps) // 3) for steps in _changes(node.codes))
        total += Resources(luts=lanes * (node.steps * compare + encoder))
        if constant:
            return total
        threshold = bits_of(node.thresholds)
        if device.runtime_weights:
            threshold = _shape_of(self, "threshold_0").width
        return total + weights(device, lanes * node.steps * threshold, words)

    def build(self, device, depth):
        return MultiThreshold(self.node, self.source, lanes=self.lanes, device=device)


def _shape_of(stage, column):
    """Shape of a column of constants that may be loaded."""
    return stage.component.loaded_shapes(stage.node, stage.source)[column]


def _trailing_zeros(values):
    """Low bits that are 0 in all values."""
    together = int(np.bitwise_or.reduce(np.ravel(values)))
    return (together & -together).bit_length() - 1 if together else 0
