"""Two slopes between dynamic shifts."""

from amaranth import *

from xnorflow.hw.arithmetic.clipping import clipped
from xnorflow.hw.arithmetic.registers import delayed, registered
from xnorflow.hw.arithmetic.resources import Resources, chain, products, table
from xnorflow.hw.ops.channel_constants import channel_table
from xnorflow.hw.ops.dynamic import DynamicStage, DynamicUnit
from xnorflow.hw.ops.frame_table import FrameTable
from xnorflow.hw.ops.stage import even_lanes, fewest
from xnorflow.hw.ops.two_slope import slope_bits, slope_columns
from xnorflow.hw.streams.words import value_bits


__all__ = ["DynamicTwoSlope", "DynamicTwoSlopeStage"]


class DynamicTwoSlope(DynamicUnit):
    """Shift each value, multiply it by one of its channel's two slopes, and shift that.

    Both shifts are those of this frame. Takes a word every cycle, as soon as they have come; an
    output that is not taken stalls the whole pipeline.

    Parameters
    ----------
    node, source, parameters, lanes, passes, device
        As for every `DynamicUnit`.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 6.
    """

    latency = FrameTable.latency + 4

    def __init__(self, node, source, parameters, *, lanes, passes=1, device=None):
        columns = {"before": node.first, "after": node.first + source.channels}
        super().__init__(
            node, source, parameters, lanes=lanes, columns=columns, passes=passes, device=device
        )
        self._slopes = channel_table(slope_columns(node), source, lanes=lanes, device=device)

    def elaborate(self, platform):
        m = Module()
        table, en, waiting = self._fetch(m)
        m.submodules.slopes = slopes = self._slopes
        m.d.comb += [slopes.en.eq(en), slopes.step.eq(table.step)]

        rounding = self.node.rounding

        for n in range(self.lanes):
            # Cycle 2: the word waits for its row. Cycle 3: the first shift.
            word = registered(m, en, waiting[n], f"word_{n}")
            value = registered(m, en, word + table.row.before[n], f"value_{n}")
            slope_pair = registered(
                m, en, Cat(slopes.row.positive[n], slopes.row.negative[n]), f"slopes_{n}"
            )
            # The second shift, and half of what is rounded away, wait for the product.
            after = (table.row.after[n] << rounding.shift) + rounding.half
            after = delayed(m, en, {f"after_{n}": after}, 3)[f"after_{n}"]
            # Cycle 4: the slope. A register in front of the multiplier keeps it fast.
            positive_bits = len(slopes.row.positive[n])
            positive = _as(slopes.row.positive[n].shape(), slope_pair[:positive_bits])
            negative = _as(slopes.row.negative[n].shape(), slope_pair[positive_bits:])
            slope = registered(m, en, Mux(value[-1], negative, positive), f"slope_{n}")
            value = registered(m, en, value, f"operand_{n}")
            # Cycle 5: the product. Cycle 6: the sum; what is rounded away is left out.
            product = registered(m, en, slope * value, f"product_{n}")
            rounded = clipped((product + after) >> rounding.shift, rounding)
            m.d.comb += self.o.p.lanes[n].eq(registered(m, en, rounded, f"output_{n}"))

        return m


def _as(shape, bits):
    """Bits as a number of that shape."""
    return bits.as_signed() if shape.signed else bits


class DynamicTwoSlopeStage(DynamicStage):
    """Multiply by one of two slopes, between dynamic shifts."""

    component = DynamicTwoSlope
    paced = True

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        most, _ = even_lanes(node, sources, fed)
        return cls._segment(node, sources, fed, fewest(sources[0].size, most, pace))

    def resources(self, device, depth=None):
        rounding, lanes, slopes = self.node.rounding, self.lanes, slope_bits(self.node)
        shifts = 2 * chain(device, value_bits(self.parameters) + rounding.shift)
        total = Resources(luts=lanes * (slopes + 2 * rounding.bits + shifts))
        total += products(device, lanes, value_bits(self.source), slopes)
        total += table(device, 2 * lanes * slopes, self.source.channels // lanes)
        return total + self._table_resources(device, columns=2, lanes=lanes)
