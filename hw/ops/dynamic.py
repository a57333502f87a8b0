"""Thresholds and shifts that follow from the frame: buffers, tables, and what reads them.

A frame's parameters are known only when the whole frame has been seen. What sums it up and what
computes the parameters are units like any others; the words of the frame itself wait::

              ┌─ sums ─ dense layers ─┬──────────────┐
    words ─ fork                      │              │
              └──── frame buffer ─────┴─ fork ─┬─ compare ─
                                               └─ shortcut

The buffer is a queue: while a frame leaves it, the next one comes in. So it holds a frame, and what
comes while the parameters are computed, not two frames. Parameters go into one half of a table
while the other half is read, and the halves change places at the edge of a frame.
"""

from dataclasses import dataclass

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from xnorflow.hw.arithmetic.constants import MemoryStyle
from xnorflow.hw.arithmetic.memory import written_style
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, buffer, counters, registers
from xnorflow.hw.ops.frame_table import FrameTable
from xnorflow.hw.ops.stage import NodeStage, Segment, queued
from xnorflow.hw.streams.times import frames_of, one_by_one, postponed
from xnorflow.hw.streams.words import check_lanes, map_layout, value_bits, value_shape, words_of
from xnorflow.ir import FeatureMap, Node


__all__ = ["DynamicStage", "DynamicUnit"]


class DynamicUnit(wiring.Component):
    """Takes the words of a map, and one by one the parameters of their frame.

    Parameters
    ----------
    node : :class:`xnorflow.ir.Node`
        Of the unit's name.
    source, parameters : :class:`xnorflow.ir.FeatureMap`
        The maps that come in.
    lanes : :class:`int`
        Values a word; must divide the channels.
    columns : dict of :class:`str` to :class:`int`
        Of the `FrameTable`.
    passes : :class:`int`
        How often a frame comes.
    device : :class:`Device`, optional
        What it is for, which decides where the table is kept; if nothing is said, Yosys does.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    i_parameters : ``In(stream.Signature(map_layout(parameters, 1)))``
    o : ``Out(stream.Signature(map_layout(node.infer(source, parameters), lanes)))``

    Raises
    ------
    NetworkError
        If the node does not fit its sources.
    :exc:`ValueError`
        If the lanes do not divide the channels.
    """

    def __init__(self, node, source, parameters, *, lanes, columns, passes=1, device=None):
        delivered = node.infer(source, parameters)
        check_lanes(source, lanes)
        self.node = node
        self.lanes = lanes
        # A parameter that all channels share is a row of its own.
        shared = parameters.channels == 1
        words = source.channels // lanes
        pixels = source.height * source.width * passes
        channels, values = (1, 1) if shared else (source.channels, lanes)
        width, rows = _table_size(parameters, len(columns), channels, values)
        self._table = FrameTable(
            value_shape(parameters.type),
            columns,
            channels=channels,
            lanes=values,
            parameters=parameters.channels,
            rounds=pixels * words if shared else pixels,
            style=MemoryStyle.AUTO if device is None else written_style(device, width, rows),
        )
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "i_parameters": In(stream.Signature(map_layout(parameters, 1))),
            "o": Out(stream.Signature(map_layout(delivered, lanes))),
        })

    def _fetch(self, m):
        """The table of parameters, and the handshake of a unit that moves as one.

        Returns
        -------
        table : :class:`FrameTable`
            Its row comes an enabled cycle after the word that it is for.
        en : :class:`Signal`
            Clock enable of everything.
        word : :class:`Signal`
            Values of a word, a cycle after its transfer.
        """
        m.submodules.table = table = self._table
        connect(m, flipped(self.i_parameters), table.i)
        valid = Signal(self.latency)
        en = Signal()
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(en & table.ready),
            self.o.valid.eq(valid[-1]),
            table.en.eq(en),
            table.step.eq(self.i.valid & table.ready),
        ]
        word = Signal(self.i.p.lanes.shape(), name="waiting", reset_less=True)
        with m.If(en):
            m.d.sync += [valid.eq(Cat(table.step, valid)), word.eq(self.i.p.lanes)]
        return table, en, word


@dataclass(frozen=True)
class DynamicStage(NodeStage):
    """A stage that takes words of ``lanes`` values, and one by one their frame's parameters.

    Attributes
    ----------
    passes : int
        How often a frame comes.
    """

    node: Node
    source: FeatureMap
    parameters: FeatureMap
    lanes: int
    passes: int = 1

    inputs = ("i", "i_parameters")

    @classmethod
    def _segment(cls, node, sources, fed, lanes):
        source, parameters = sources
        name = f"{node.name}_parameters"
        ahead = queued(node.name, source, fed[0], lanes), queued(name, parameters, fed[1], 1)
        return Segment(ahead, cls(node, source, parameters, lanes), lanes)

    @property
    def busy(self):
        return max(words_of(self.source, self.lanes), self.parameters.channels)

    def passage(self, arrivals, device):
        taken = self._taken(*arrivals)
        return taken, taken[0] + self.registers(device)

    def scheduled(self, arrivals, device, stages):
        taken, _ = self.passage(arrivals, device)
        even = postponed(arrivals[0], taken[0], words_of(self.source, self.lanes))
        return *self.passage([even, arrivals[1]], device), None

    def _taken(self, arrivals, parameters):
        """Cycles in which it takes words, and in which it takes parameters.

        It has room for those of two frames: the third's wait until the first is over.
        """
        words = frames_of(arrivals, self.passes * words_of(self.source, self.lanes))
        parameters = frames_of(parameters, self.parameters.channels)
        taken, loaded = np.empty_like(words), np.empty_like(parameters)
        for n, (came, brought) in enumerate(zip(words, parameters, strict=True)):
            if n > 1:
                brought = np.maximum(brought, taken[n - 2, -1] + 1)
            if n > 0:
                brought = np.maximum(brought, loaded[n - 1, -1] + 1)
                came = np.maximum(came, taken[n - 1, -1] + 1)
            loaded[n] = one_by_one(brought)
            taken[n] = one_by_one(np.maximum(came, loaded[n, -1] + 1))
        return [taken.ravel(), loaded.ravel()]

    def _table_resources(self, device, *, columns, lanes):
        """Estimated resources of a `FrameTable`, and of what counts and chooses parameters."""
        channels = 1 if self.parameters.channels == 1 else self.source.channels
        width, depth = _table_size(self.parameters, columns, channels, lanes)
        memory = buffer(device, width, depth, written_style)
        pixels = self.source.height * self.source.width * self.passes
        tables = memory + Resources(luts=2 * CONTROL)
        tables += counters(self.parameters.channels, pixels, depth // 2)
        return tables + registers(device, width)

    def build(self, device, depth):
        return self.component(
            self.node,
            self.source,
            self.parameters,
            lanes=self.lanes,
            passes=self.passes,
            device=device,
        )


def _table_size(parameters, columns, channels, lanes):
    """Width and depth of a `FrameTable`."""
    return columns * lanes * value_bits(parameters), 2 << ceil_log2(channels // lanes)
