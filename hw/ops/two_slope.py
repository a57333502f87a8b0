"""Two slopes, one for values that are negative."""

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.clipping import clipped
from xnorflow.hw.arithmetic.constants import (
    ConstantTable,
    MemoryStyle,
    are_shifts,
    channel_rows,
    fetch,
)
from xnorflow.hw.arithmetic.memory import table_style
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, bits_of, products, table
from xnorflow.hw.ops.stage import PacedStage
from xnorflow.hw.ops.unit import LaneUnit
from xnorflow.hw.streams.words import value_bits, vector_of


__all__ = ["TwoSlope", "TwoSlopeStage", "slope_bits", "slope_rows"]


def slope_rows(node, *, lanes, vector):
    """Layout and contents of the constants of a `TwoSlope`, as `channel_rows` gives them."""
    columns = {"positive": node.positive, "negative": node.negative}
    return channel_rows(columns, lanes=lanes, vector=vector)


def slope_bits(node):
    """Bits of a slope."""
    return bits_of(np.concatenate([node.positive, node.negative]))


def _slopes_are_shifts(node):
    """Whether a `TwoSlope` needs no multiplier."""
    return are_shifts(node.positive) and are_shifts(node.negative)


class TwoSlope(LaneUnit):
    """Multiply each value by one of its channel's two slopes, round and clip.

    Takes a word every cycle; an output that is not taken stalls the whole pipeline. Two slopes that
    all channels share, such as ReLU's 1 and 0, cost no multiplier if they are powers of two or 0.

    Parameters
    ----------
    node, source, lanes
        As for every `LaneUnit`.
    vector : :class:`int`
        Values of a vector: the channels of a pixel, or several whole pixels.
    style : :class:`MemoryStyle`
        Where the constants are kept.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 5.
    """

    latency = ConstantTable.latency + 3

    def __init__(self, node, source, *, lanes, vector, style=MemoryStyle.AUTO):
        super().__init__(node, source, lanes=lanes)
        self._slopes = ConstantTable(*slope_rows(node, lanes=lanes, vector=vector), style=style)

    def elaborate(self, platform):
        m = Module()
        m.submodules.slopes = slopes = self._slopes
        en, word = fetch(m, self, slopes)

        rounding = self.node.rounding
        shifts = _slopes_are_shifts(self.node)
        for n in range(self.lanes):
            positive, negative = slopes.row.positive[n], slopes.row.negative[n]
            # Cycle 3: the slope. A register in front of the multiplier keeps it fast.
            value = registered(m, en, word.lanes[n], f"value_{n}")
            # Cycle 4: the product. Cycle 5: what is rounded away is left out.
            if shifts:
                # Synthesis knows the constants, but not which values a register can take.
                product = Mux(value[-1], negative * value, positive * value)
            else:
                slope = Mux(word.lanes[n][-1], negative, positive)
                product = registered(m, en, slope, f"slope_{n}") * value
            product = registered(m, en, product, f"product_{n}")
            rounded = clipped((product + rounding.half) >> rounding.shift, rounding.bits)
            output = registered(m, en, rounded, f"output_{n}")
            m.d.comb += self.o.p.lanes[n].eq(output)

        return m


class TwoSlopeStage(PacedStage):
    """Multiply by one of two slopes."""

    component = TwoSlope

    def resources(self, device, depth=None):
        node, lanes, slopes = self.node, self.lanes, slope_bits(self.node)
        total = Resources(luts=lanes * (slopes + 2 * node.rounding.bits) + CONTROL)
        if _slopes_are_shifts(node):
            return total
        total += products(device, lanes, value_bits(self.source), slopes)
        return total + table(device, 2 * lanes * slopes, -(-self.source.channels // lanes))

    def build(self, device, depth):
        vector = vector_of(self.source, self.lanes)
        style = table_style(device, *slope_rows(self.node, lanes=self.lanes, vector=vector))
        return TwoSlope(self.node, self.source, lanes=self.lanes, vector=vector, style=style)
