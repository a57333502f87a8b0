"""Pooling: largest bits, sums and means of windows that do not overlap."""

from math import prod

from amaranth import *
from amaranth.lib import data, memory

from xnorflow.hw.arithmetic.constants import ConstantTable, MemoryStyle, channel_rows
from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.largest import largest
from xnorflow.hw.arithmetic.memory import written_style
from xnorflow.hw.arithmetic.registers import registered_all
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, buffer, chain
from xnorflow.hw.ops.overlapping_pool import OverlappingPoolStage
from xnorflow.hw.ops.stage import EvenStage, LaneStage, check_pixels
from xnorflow.hw.ops.unit import MapUnit
from xnorflow.hw.streams.times import pixels_of
from xnorflow.hw.streams.words import value_bits, value_shape
from xnorflow.ir import AveragePool, GlobalSum, Pool, int_bits


__all__ = ["MaxPool", "MaxPoolStage", "SumPool", "SumPoolStage"]


class _WindowUnit(MapUnit):
    """Makes one value of every window and channel; windows do not overlap.

    Takes a word every cycle. A window's partial results wait in a memory of one row of windows
    until its last pixel has come; an output that is not taken stalls everything.

    Parameters
    ----------
    node, source, lanes
        As for every `MapUnit`.
    style : :class:`MemoryStyle`
        Where partial results are kept.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a window's last word to its delivery: 3.
    """

    latency = 1 + ConstantTable.latency

    def __init__(self, node, source, *, lanes, style=MemoryStyle.AUTO):
        super().__init__(node, source, lanes=lanes)
        self.style = style

    def _fetch(self, m, shape):
        """Pipeline up to the results, and a memory of ``lanes`` values of ``shape``.

        Returns
        -------
        en : :class:`Signal`
            Clock enable of everything.
        step : :class:`Signal`
            Whether a word comes in.
        result : :class:`Signal`
            To be driven with what the window has so far. With the window's last pixel, it is to be
            registered for the output.
        stage : dict of :class:`str` to :class:`Signal`
            The word, ``data``, and whether it is of the window's ``first`` pixel.
        partial : :class:`Signal`
            What the window had before that word.
        """
        valid = Signal()
        en = Signal()
        m.d.comb += [
            en.eq(~valid | self.o.ready),
            self.i.ready.eq(en),
            self.o.valid.eq(valid),
        ]
        step = Signal()
        m.d.comb += step.eq(en & self.i.valid)

        # Cycle 1: the word is registered, and so is what is to be done with it.
        action, depth = self._action(m, step)
        first_stage = registered_all(m, en, action, "{}_1", resets=action)

        # Cycle 2: what the window has so far comes out of the memory.
        m.submodules.partial = partial = memory.Memory(
            shape=Shape.cast(shape).width * self.lanes,
            depth=depth,
            init=[],
            attrs=self.style.attributes(),
        )
        write = partial.write_port()
        read = partial.read_port(transparent_for=(write,))
        m.d.comb += [read.en.eq(en), read.addr.eq(first_stage["address"])]
        stage = registered_all(m, en, first_stage, "{}_2", resets=action)

        # Cycle 3: they are put together, in the memory or the output register.
        result = Signal.like(write.data)
        m.d.comb += [
            write.en.eq(en & stage["inside"]),
            write.addr.eq(stage["address"]),
            write.data.eq(result),
        ]
        with m.If(en):
            m.d.sync += valid.eq(stage["complete"])
        return en, step, result, stage, read.data

    def _action(self, m, step):
        """Actions for the word that comes in, and the depth of the memory that they need."""
        source, window = self.source, _window(self.node, self.source)
        words = source.channels // self.lanes
        rows, columns = source.height // window[0], source.width // window[1]

        # Where it belongs: channels run fastest, then columns, then rows.
        word, last_word = counter(m, "word", words, step)
        column, last_column = counter(m, "column", source.width, step & last_word)
        end_of_row = last_word & last_column
        row, last_row = counter(m, "row", source.height, step & end_of_row)
        column_phase = Signal(range(window[1]))
        row_phase = Signal(range(window[0]))
        first_word = Signal(range(columns * words))  # of the window, in the memory
        last_column_phase, last_row_phase = Signal(), Signal()
        m.d.comb += [
            last_column_phase.eq(column_phase == window[1] - 1),
            last_row_phase.eq(row_phase == window[0] - 1),
        ]
        with m.If(step & last_word):
            with m.If(last_column):
                m.d.sync += [column_phase.eq(0), first_word.eq(0)]
                m.d.sync += row_phase.eq(Mux(last_row | last_row_phase, 0, row_phase + 1))
            with m.Elif(last_column_phase):
                m.d.sync += [column_phase.eq(0), first_word.eq(first_word + words)]
            with m.Else():
                m.d.sync += column_phase.eq(column_phase + 1)

        # Rows and columns that do not fill a window go nowhere.
        inside = (column < columns * window[1]) & (row < rows * window[0])
        action = {
            "data": Value.cast(self.i.payload),
            "address": (first_word + word)[: len(first_word)],
            "first": (column_phase == 0) & (row_phase == 0),
            "inside": step & inside,
            "complete": step & inside & last_column_phase & last_row_phase,
        }
        return action, columns * words


class MaxPool(_WindowUnit):
    """Largest value of every window, or the smallest one on inverted channels.

    Windows are side by side; for others there is `OverlappingPool`.
    """

    def elaborate(self, platform):
        m = Module()
        shape = value_shape(self.source.type)
        en, step, result, stage, partial = self._fetch(m, shape)

        inverted = None
        if self.node.inverted is not None and self.node.inverted.any():
            columns = {"inverted": self.node.inverted.astype(int)}
            rows = channel_rows(columns, lanes=self.lanes, vector=self.node.inverted.size)
            m.submodules.constants = constants = ConstantTable(*rows, style=MemoryStyle.LOGIC)
            m.d.comb += [constants.en.eq(en), constants.step.eq(step)]
            inverted = constants.row.inverted.as_value()
        together = largest(stage["data"], partial, inverted, shape)
        m.d.comb += result.eq(Mux(stage["first"], stage["data"], together))
        output = Signal(len(result), reset_less=True)
        m.d.comb += self.o.payload.as_value().eq(output)
        with m.If(en):
            m.d.sync += output.eq(result)

        return m


class SumPool(_WindowUnit):
    """Sum of every window, or its mean with ties rounded up. Windows are side by side."""

    def elaborate(self, platform):
        m = Module()
        shift = self.node.shift if isinstance(self.node, AveragePool) else 0
        pixels = prod(_window(self.node, self.source))
        low, high = pixels * self.source.type.low, pixels * self.source.type.high
        sums = data.ArrayLayout(signed(int_bits(low, high)), self.lanes)
        en, _, result, stage, partial = self._fetch(m, sums.elem_shape)

        values, before, after = self.i.p.lanes.shape()(stage["data"]), sums(partial), sums(result)
        half = (1 << shift) >> 1
        for n in range(self.lanes):
            m.d.comb += after[n].eq(values[n] + Mux(stage["first"], 0, before[n]))
            output = Signal(self.o.p.lanes[n].shape(), name=f"output_{n}", reset_less=True)
            m.d.comb += self.o.p.lanes[n].eq(output)
            with m.If(en):
                m.d.sync += output.eq((after[n] + half) >> shift)

        return m


class _WindowStage(LaneStage):
    """Pool windows that do not overlap."""

    frames_kept = 1

    def passage(self, arrivals, device):
        source, (height, width) = self.source, _window(self.node, self.source)
        rows = slice(height - 1, source.height // height * height, height)
        columns = slice(width - 1, source.width // width * width, width)
        ends = pixels_of(arrivals[0], source, self.lanes)[:, rows, columns]
        return arrivals, ends.ravel() + self.registers(device)


class MaxPoolStage(_WindowStage):
    """Pool bits, or integers of few bits."""

    component = MaxPool
    facts = ("lanes", "node.size")

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        if not _side_by_side(node):
            return OverlappingPoolStage.segment(node, sources, fed, folding, pace)
        check_pixels(node, *sources, *fed, spare=False)
        return super().segment(node, sources, fed, folding, pace)

    def resources(self, device, depth=None):
        columns = self.source.width // _window(self.node, self.source)[1]
        words = columns * (self.source.channels // self.lanes)
        bits = value_bits(self.source)
        lane = 2 if bits == 1 else 1 + 2 * bits + chain(device, bits, carry_out=True)
        return Resources(luts=lane * self.lanes + 60) + buffer(device, self.lanes * bits, words)


class SumPoolStage(EvenStage, _WindowStage):
    """Sum windows up, or the whole frame, or find their means."""

    component = SumPool

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        if not _side_by_side(node):
            return OverlappingPoolStage.segment(node, sources, fed, folding, pace)
        return super().segment(node, sources, fed, folding, pace)

    def resources(self, device, depth=None):
        width, words = self._memory
        logic = Resources(luts=3 * width + CONTROL)
        return logic + buffer(device, width, words, written_style)

    @property
    def _memory(self):
        """Width of the memory of sums, with some bits to spare, and its words."""
        delivered, lanes = self.node.infer(self.source), self.lanes
        words = delivered.width * (self.source.channels // lanes)
        return lanes * (value_bits(delivered) + 4), words

    def build(self, device, depth):
        style = written_style(device, *self._memory)
        return SumPool(self.node, self.source, lanes=self.lanes, style=style)


def _window(node, source):
    """Rows and columns of a pool's windows."""
    match node:
        case GlobalSum():
            return source.height, source.width
        case AveragePool():
            return node.size, node.size
        case _:
            return tuple(axis.taps for axis in node.axes)


def _side_by_side(node):
    """Whether windows neither overlap nor leave anything out between them, or reach outside."""
    return not isinstance(node, Pool) or (node.stride is None and not node.padding)
