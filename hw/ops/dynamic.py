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
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from xnorflow.hw.arithmetic.clipping import clipped
from xnorflow.hw.arithmetic.constants import ConstantTable, MemoryStyle
from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.memory import table_style
from xnorflow.hw.arithmetic.registers import delayed, registered
from xnorflow.hw.arithmetic.resources import (
    CONTROL,
    Resources,
    bits_of,
    buffer,
    chain,
    counters,
    products,
    registers,
    table,
)
from xnorflow.hw.ops.stage import NodeStage, Segment, even_lanes, fewest, queued
from xnorflow.hw.ops.two_slope import slope_bits, slope_rows
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.times import frames_of, one_by_one, postponed, queue_depth
from xnorflow.hw.streams.words import (
    check_lanes,
    lane_layout,
    map_layout,
    value_bits,
    value_shape,
    words_of,
)
from xnorflow.ir import FeatureMap, Node


__all__ = [
    "DynamicThreshold",
    "DynamicThresholdStage",
    "DynamicTwoSlope",
    "DynamicTwoSlopeStage",
    "FrameBuffer",
    "FrameBufferStage",
    "FrameTable",
]


class FrameBuffer(wiring.Component):
    """Keep the words of a frame until its parameters have come; then deliver one every cycle.

    Parameters are only counted. Words of the next frame come in while those of a frame leave.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        A word.
    depth : :class:`int`
        Words that it holds, at least those of a frame.
    words : :class:`int`
        Words of a frame.
    parameter_shape : :class:`ShapeLike`
        A word of parameters.
    parameter_words : :class:`int`
        Words of a frame's parameters.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery, if the parameters are there: 2.
        From the transfer of the last of them to the first word's delivery, it is 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    i_parameters : ``In(stream.Signature(parameter_shape))``
    o : ``Out(stream.Signature(shape))``

    Raises
    ------
    :exc:`ValueError`
        If ``depth`` is less than ``words``: it could never have seen a whole frame.
    """

    latency = Fifo.latency

    def __init__(self, shape, depth, *, words, parameter_shape, parameter_words):
        if depth < words:
            raise ValueError(f"A frame buffer must hold at least {words} words, not {depth!r}")
        self.depth = depth
        self.words = words
        self.parameter_words = parameter_words
        super().__init__({
            "i": In(stream.Signature(shape)),
            "i_parameters": In(stream.Signature(parameter_shape)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.queue = queue = Fifo(self.i.p.shape(), self.depth)
        connect(m, flipped(self.i), queue.i)

        # Frames whose parameters have come, and that have not left: no more than have come in.
        frames = self.depth // self.words + 2
        released = Signal(range(frames + 1))
        came, left = Signal(), Signal()
        m.d.comb += self.i_parameters.ready.eq(released != frames)
        _, last_parameter = counter(m, "parameter", self.parameter_words, came)
        m.d.comb += came.eq(self.i_parameters.valid & self.i_parameters.ready)
        m.d.comb += [
            self.o.p.eq(queue.o.p),
            self.o.valid.eq(queue.o.valid & (released != 0)),
            queue.o.ready.eq(self.o.ready & (released != 0)),
            left.eq(self.o.valid & self.o.ready),
        ]
        _, last_word = counter(m, "word", self.words, left)
        m.d.sync += released.eq(released + (came & last_parameter) - (left & last_word))

        return m


class FrameTable(wiring.Component):
    """A table of constants that the frame brings along: two of them, which take turns.

    Rows go round and round, one a step, as in a `ConstantTable`, but are those of the frame that
    the step belongs to. The row of a step is there ``latency`` enabled cycles later. Parameters are
    taken one a cycle, as long as one of the two tables is free: from the cycle after its frame's
    last step on.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One parameter.
    columns : dict of :class:`str` to :class:`int`
        By name, the first parameter that belongs to each column of the table.
    channels : :class:`int`
        Parameters of a column.
    lanes : :class:`int`
        Parameters of a column in a row; must divide the channels.
    parameters : :class:`int`
        Parameters of a frame; those that belong to no column are left out.
    rounds : :class:`int`
        How often the rows go round in a frame.

    Attributes
    ----------
    latency : :class:`int`
        Enabled clock cycles from a step to its row: 2.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(shape, 1)))``
    ready : ``Out(1)``
        Whether the parameters of the next step's frame have come: from the cycle after the last
        one's transfer on.
    en : ``In(1)``
        Clock enable.
    step : ``In(1)``
        Take a row, and move on. Only if ``ready``.
    row : ``Out(StructLayout)``
        Under each column's name, an array of ``lanes`` parameters.
    """

    latency = ConstantTable.latency

    def __init__(self, shape, columns, *, channels, lanes, parameters, rounds):
        self.shape = Shape.cast(shape)
        self.columns = dict(columns)
        self.channels = channels
        self.lanes = lanes
        self.parameters = parameters
        self.rounds = rounds
        row = data.ArrayLayout(self.shape, lanes)
        super().__init__({
            "i": In(stream.Signature(lane_layout(shape, 1))),
            "ready": Out(1),
            "en": In(1),
            "step": In(1),
            "row": Out(data.StructLayout(dict.fromkeys(columns, row))),
        })

    def elaborate(self, platform):
        m = Module()
        rows = self.channels // self.lanes

        take, step = Signal(), Signal()
        full = Signal(range(3))  # tables with all parameters of a frame that is not over
        m.d.comb += [
            self.i.ready.eq(full != 2),
            self.ready.eq(full != 0),
            take.eq(self.i.valid & self.i.ready),
            step.eq(self.en & self.step),
        ]
        parameter, last_parameter = counter(m, "parameter", self.parameters, take)
        row, last_row = counter(m, "row", rows, step)
        _, last_round = counter(m, "round", self.rounds, step & last_row)
        filled, used_up = Signal(), Signal()
        m.d.comb += [
            filled.eq(take & last_parameter),
            used_up.eq(step & last_row & last_round),
        ]
        m.d.sync += full.eq(full + filled - used_up)
        write_half, read_half = Signal(), Signal()
        m.d.sync += [write_half.eq(write_half ^ filled), read_half.eq(read_half ^ used_up)]

        for name, first in self.columns.items():
            inside = Signal(name=f"inside_{name}")
            begun = parameter >= first if first else Const(1)
            m.d.comb += inside.eq(take & begun & (parameter < first + self.channels))
            lane, last_lane = counter(m, f"lane_{name}", self.lanes, inside)
            place, _ = counter(m, f"place_{name}", rows, inside & last_lane)
            m.submodules[name] = table = memory.Memory(
                shape=data.ArrayLayout(self.shape, self.lanes),
                depth=2 << ceil_log2(rows),
                init=[],
                attrs=MemoryStyle.AUTO.attributes(),
            )
            write = table.write_port(granularity=1)
            read = table.read_port()
            output = Signal(read.data.shape(), name=f"output_{name}", reset_less=True)
            m.d.comb += [
                write.addr.eq(Cat(place, write_half)),
                write.en.eq(inside << lane),
                read.addr.eq(Cat(row, read_half)),
                read.en.eq(self.en),
                self.row[name].eq(output),
            ]
            for value in write.data:
                m.d.comb += value.eq(self.i.p.lanes[0])
            with m.If(self.en):
                m.d.sync += output.eq(read.data)

        return m


class _DynamicUnit(wiring.Component):
    """Takes the words of a map, and one by one the parameters of their frame."""

    def __init__(self, node, source, parameters, lanes):
        delivered = node.infer(source, parameters)
        self.node = node
        self.lanes = lanes
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "i_parameters": In(stream.Signature(map_layout(parameters, 1))),
            "o": Out(stream.Signature(map_layout(delivered, lanes))),
        })


class DynamicThreshold(_DynamicUnit):
    """Compare each value with its channel's threshold in this frame.

    Takes a word every cycle, as soon as the frame's parameters have come; an output that is not
    taken stalls the whole pipeline.

    Parameters
    ----------
    node : :class:`xnorflow.ir.DynamicThreshold`
    source, parameters : :class:`xnorflow.ir.FeatureMap`
        The maps that come in.
    lanes : :class:`int`
        Values a word; must divide the channels.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 3.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    i_parameters : ``In(stream.Signature(map_layout(parameters, 1)))``
    o : ``Out(stream.Signature(lane_layout(1, lanes)))``

    Raises
    ------
    NetworkError
        If the node does not fit its sources.
    :exc:`ValueError`
        If the lanes do not divide the channels.
    """

    latency = FrameTable.latency + 1

    def __init__(self, node, source, parameters, *, lanes):
        shared = parameters.channels == 1
        super().__init__(node, source, parameters, lanes)
        self._table = _table(
            {"threshold": node.first}, source, parameters, lanes=lanes, shared=shared
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = self._table
        connect(m, flipped(self.i_parameters), table.i)
        en, word = _fetch(m, self, table)

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


class DynamicTwoSlope(_DynamicUnit):
    """Shift each value, multiply it by one of its channel's two slopes, and shift that.

    Both shifts are those of this frame. Takes a word every cycle, as soon as they have come; an
    output that is not taken stalls the whole pipeline.

    Parameters
    ----------
    node, source, parameters, lanes
        As for a `DynamicThreshold`.
    style : :class:`MemoryStyle`
        Where the slopes are kept.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 6.
    """

    latency = FrameTable.latency + 4

    def __init__(self, node, source, parameters, *, lanes, style=MemoryStyle.AUTO):
        super().__init__(node, source, parameters, lanes)
        columns = {"before": node.first, "after": node.first + source.channels}
        self._table = _table(columns, source, parameters, lanes=lanes)
        self._slopes = ConstantTable(
            *slope_rows(node, lanes=lanes, vector=source.channels), style=style
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = self._table
        m.submodules.slopes = slopes = self._slopes
        connect(m, flipped(self.i_parameters), table.i)
        en, waiting = _fetch(m, self, table)
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
            rounded = clipped((product + after) >> rounding.shift, rounding.bits)
            m.d.comb += self.o.p.lanes[n].eq(registered(m, en, rounded, f"output_{n}"))

        return m


def _as(shape, bits):
    """Bits as a number of that shape."""
    return bits.as_signed() if shape.signed else bits


def _table(columns, source, parameters, *, lanes, shared=False):
    """Table of a unit that reads words of ``lanes`` values of ``source``."""
    check_lanes(source, lanes)
    words = source.channels // lanes
    pixels = source.height * source.width
    return FrameTable(
        value_shape(parameters.type),
        columns,
        channels=1 if shared else source.channels,
        lanes=1 if shared else lanes,
        parameters=parameters.channels,
        rounds=pixels * words if shared else pixels,
    )


def _fetch(m, unit, table):
    """Handshake of a ``unit`` that moves as one: its clock enable, and a word after a cycle.

    Its row of the ``table`` comes an enabled cycle later.
    """
    valid = Signal(unit.latency)
    en = Signal()
    m.d.comb += [
        en.eq(~unit.o.valid | unit.o.ready),
        unit.i.ready.eq(en & table.ready),
        unit.o.valid.eq(valid[-1]),
        table.en.eq(en),
        table.step.eq(unit.i.valid & table.ready),
    ]
    word = Signal(unit.i.p.lanes.shape(), name="waiting", reset_less=True)
    with m.If(en):
        m.d.sync += [valid.eq(Cat(table.step, valid)), word.eq(unit.i.p.lanes)]
    return en, word


@dataclass(frozen=True)
class FrameBufferStage(StreamStage):
    """Keep words of ``lanes`` values until the parameters of their frame have come."""

    parameters: FeatureMap
    parameter_lanes: int

    component = FrameBuffer
    inputs = ("i", "i_parameters")
    may_wait = True

    @property
    def words(self) -> int:
        """Words of a frame."""
        return words_of(self.source, self.lanes)

    @property
    def parameter_words(self) -> int:
        """Words of a frame's parameters."""
        return words_of(self.parameters, self.parameter_lanes)

    least_depth = words

    @property
    def busy(self):
        return max(self.words, self.parameter_words)

    def passage(self, arrivals, device):
        released = frames_of(arrivals[1], self.parameter_words)[:, -1] + 1
        came = arrivals[0] + self.registers(device)
        return arrivals, one_by_one(np.maximum(came, np.repeat(released, self.words)))

    def scheduled(self, arrivals, device, stages):
        _, ready = self.passage(arrivals, device)
        went = postponed(arrivals[0] + self.registers(device), ready, self.words)
        return arrivals, went, max(self.words, queue_depth(arrivals[0], went))

    def resources(self, device, depth=None):
        return Resources(luts=60) + buffer(device, self.width, depth)

    def build(self, device, depth):
        return FrameBuffer(
            map_layout(self.source, self.lanes),
            depth,
            words=self.words,
            parameter_shape=map_layout(self.parameters, self.parameter_lanes),
            parameter_words=self.parameter_words,
        )


@dataclass(frozen=True)
class _DynamicStage(NodeStage):
    """What takes words of ``lanes`` values, and one by one the parameters of their frame."""

    node: Node
    source: FeatureMap
    parameters: FeatureMap
    lanes: int

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
        words = frames_of(arrivals, words_of(self.source, self.lanes))
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

    def _table(self, device, *, columns, lanes):
        """Estimated resources of a `FrameTable`, and of what counts and chooses parameters."""
        width = lanes * value_bits(self.parameters)
        rows = max(1, self.source.channels // lanes)
        memory = buffer(device, width, 2 << ceil_log2(rows))
        pixels = self.source.height * self.source.width
        tables = sum([memory] * columns, Resources(luts=2 * CONTROL))
        tables += counters(self.parameters.channels, pixels, rows)
        return tables + registers(device, columns * width)

    def build(self, device, depth):
        return self.component(self.node, self.source, self.parameters, lanes=self.lanes)


class DynamicThresholdStage(_DynamicStage):
    """Compare with thresholds of the frame."""

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
        return total + self._table(device, columns=1, lanes=lanes)


class DynamicTwoSlopeStage(_DynamicStage):
    """Multiply by one of two slopes, between shifts of the frame."""

    component = DynamicTwoSlope

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
        return total + self._table(device, columns=2, lanes=lanes)

    def build(self, device, depth):
        rows = slope_rows(self.node, lanes=self.lanes, vector=self.source.channels)
        style = table_style(device, *rows)
        return DynamicTwoSlope(
            self.node, self.source, self.parameters, lanes=self.lanes, style=style
        )
