"""Two slopes, one for values that are negative."""

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.clipping import clipped
from xnorflow.hw.arithmetic.constants import ConstantTable, are_shifts
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, bits_of, products, table
from xnorflow.hw.ops.channel_constants import ConstantUnit
from xnorflow.hw.ops.stage import PacedStage
from xnorflow.hw.streams.words import value_bits


__all__ = ["TwoSlope", "TwoSlopeStage", "slope_bits", "slope_columns"]


def slope_columns(node):
    """Columns of a table of slopes."""
    return {"positive": node.positive, "negative": node.negative}


def slope_bits(node):
    """Bits of a slope."""
    return bits_of(np.concatenate([node.positive, node.negative]))


def _slopes_are_shifts(node):
    """Whether a `TwoSlope` needs no multiplier."""
    return are_shifts(node.positive) and are_shifts(node.negative)


class TwoSlope(ConstantUnit):
    """Multiply each value by one of its channel's two slopes, round and clip.

    Two slopes that all channels share, such as ReLU's 1 and 0, cost no multiplier if they are
    powers of two or 0.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 5.
    """

    latency = ConstantTable.latency + 3

    @staticmethod
    def columns(node):
        """Both slopes."""
        return {"slopes": slope_columns(node)}

    def elaborate(self, platform):
        m = Module()
        en, word, slopes = self._fetch(m)

        rounding = self.node.rounding
        shifts = _slopes_are_shifts(self.node)
        for n in range(self.lanes):
            positive, negative = slopes.positive[n], slopes.negative[n]
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
            rounded = clipped((product + rounding.half) >> rounding.shift, rounding)
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
            if not node.rounding.shift and not node.negative.any():  # it only clips
                return Resources(luts=lanes * node.rounding.bits // 2 + 4)
            return total
        total += products(device, lanes, value_bits(self.source), slopes)
        return total + table(device, 2 * lanes * slopes, -(-self.source.channels // lanes))
