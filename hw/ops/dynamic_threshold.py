"""Threshold-compare with dynamic thresholds."""

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.resources import Resources, bits_of, chain, products
from xnorflow.hw.ops.dynamic import DynamicStage, DynamicUnit
from xnorflow.hw.ops.frame_table import FrameTable
from xnorflow.hw.ops.stage import even_lanes
from xnorflow.hw.streams.words import value_bits


__all__ = ["DynamicThreshold", "DynamicThresholdStage"]


class DynamicThreshold(DynamicUnit):
    """Compare each value with its channel's threshold in this frame.

    Takes a word every cycle, as soon as the frame's parameters have come; an output that is not
    taken stalls the whole pipeline.

    Parameters
    ----------
    node, source, parameters, lanes, passes, device
        As for every `DynamicUnit`.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 3.
    """

    latency = FrameTable.latency + 1

    def __init__(self, node, source, parameters, *, lanes, passes=1, device=None):
        columns = {"threshold": node.first}
        super().__init__(
            node, source, parameters, lanes=lanes, columns=columns, passes=passes, device=device
        )

    def elaborate(self, platform):
        m = Module()
        table, en, word = self._fetch(m)

        for n in range(self.lanes):
            # Cycle 2: the value is scaled, while the row comes. Cycle 3: compare.
            value = Signal((word[n] * self.node.scale).shape(), name=f"value_{n}", reset_less=True)
            bit = Signal(name=f"bit_{n}", reset_less=True)
            threshold = table.row.threshold[n % table.lanes]
            with m.If(en):
                m.d.sync += [
                    value.eq(word[n] * self.node.scale),
                    bit.eq(value >= threshold),
                ]
            m.d.comb += self.o.p.lanes[n].eq(bit)

        return m


class DynamicThresholdStage(DynamicStage):
    """Compare with dynamic thresholds."""

    component = DynamicThreshold

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        lanes, _ = even_lanes(node, sources, fed)
        return cls._segment(node, sources, fed, lanes)

    def resources(self, device, depth=None):
        scale, bits = self.node.scale, value_bits(self.source)
        shift = scale.bit_length() - 1
        compared = max(bits + shift, value_bits(self.parameters))
        total = Resources(luts=self.lanes * chain(device, compared, carry_out=True))
        if scale != 1 << shift:
            total += products(device, self.lanes, bits, bits_of(np.array(scale)))
        lanes = 1 if self.parameters.channels == 1 else self.lanes
        return total + self._table_resources(device, columns=1, lanes=lanes)
