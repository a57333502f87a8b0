"""Pools of windows that overlap, or reach outside the frame."""

from dataclasses import dataclass
from functools import cached_property

from amaranth import *
from amaranth.lib import data, memory

from xnorflow.hw.arithmetic.constants import channel_rows
from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.largest import largest
from xnorflow.hw.arithmetic.registers import registered_all
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, buffer, chain
from xnorflow.hw.ops.directions import Direction, outside, passed, position
from xnorflow.hw.ops.stage import EvenStage, Segment, even_lanes, queued
from xnorflow.hw.ops.unit import MapUnit
from xnorflow.hw.streams.words import value_shape
from xnorflow.ir import MaxPool, int_bits


__all__ = ["OverlappingPool", "OverlappingPoolStage"]


@dataclass(frozen=True, eq=False)
class _Direction(Direction):
    """The same, and the ``shape`` of what a window has of a channel."""

    shape: Shape

    @property
    def open(self):
        """Windows that a place is in, at most."""
        return -(-self.axis.taps // self.axis.stride)

    @property
    def kept(self):
        """Windows that are not at their end after a place, at most."""
        return -(-(self.axis.taps - 1) // self.axis.stride)


def _directions(node, source):
    """Those of the columns, which come first, and of the rows."""
    rows, columns = node.axes
    if isinstance(node, MaxPool):
        across = down = value_shape(source.type)
    else:
        type_, taps = source.type, min(columns.taps, source.width)
        across = signed(int_bits(taps * type_.low, taps * type_.high))
        down = signed(node.infer(source).type.bits)
    return _Direction(columns, source.width, across), _Direction(rows, source.height, down)


class OverlappingPool(MapUnit):
    """Largest value of every window, or its sum.

    Takes a word every cycle, except where windows reach beyond the last column or the last row:
    there, it takes as long over every place as over a pixel. Values side by side are joined first,
    and what comes of them row by row. What open windows have so far waits in a memory of one pixel
    for the columns, and in one of a row of windows for the rows. An output that is not taken stalls
    everything.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a window's last word to its delivery: 5.
    """

    latency = 5

    def elaborate(self, platform):
        m = Module()
        source = self.source
        words = source.channels // self.lanes
        across, down = _directions(self.node, source)

        valid, en, step, beyond = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            en.eq(~valid | self.o.ready),
            step.eq(en & (self.i.valid | beyond)),
            self.i.ready.eq(en & ~beyond),
            self.o.valid.eq(valid),
        ]

        # Where the word that comes in belongs: channels run fastest, then columns, then rows.
        word, last_word = counter(m, "word", words, step)
        column, last_column = counter(m, "column", across.places, step & last_word)
        end_of_row = last_word & last_column
        row, last_row = counter(m, "row", down.places, step & end_of_row)
        along = position(m, across, column, last_column, step & last_word, "column")
        below = position(m, down, row, last_row, step & end_of_row, "row")
        m.d.comb += beyond.eq(~along["inside"] | ~below["inside"])
        first_word = Signal(range(across.count * words))  # of the window, in the memory of a row
        with m.If(step & last_word):
            with m.If(last_column):
                m.d.sync += first_word.eq(0)
            with m.Elif(along["delivers"]):
                m.d.sync += first_word.eq(first_word + words)

        # Cycle 1: the word is registered. Cycles 2 and 3: the columns. Cycles 4 and 5: the rows.
        along |= {"address": word}
        below |= {"address": (first_word + word)[: len(first_word)]}
        value = {"data": Value.cast(self.i.payload), "there": step} | self._inverted(word)
        stage = _stage(m, en, [value, along, below], "word")
        shape = value_shape(source.type)
        stage = self._joined(m, en, stage, shape, across, words, "columns")
        (value,) = self._joined(m, en, stage, across.shape, down, across.count * words, "rows")
        m.d.comb += [valid.eq(value["there"]), Value.cast(self.o.payload).eq(value["data"])]

        return m

    def _inverted(self, word):
        """Which lanes of a word have their smallest values taken, if any has."""
        inverted = getattr(self.node, "inverted", None)
        if inverted is None or not inverted.any():
            return {}
        columns = {"inverted": inverted.astype(int)}
        _, rows = channel_rows(columns, lanes=self.lanes, vector=inverted.size)
        masks = [Const(row, self.lanes) for row in rows]
        return {"inverted": Array(masks)[word] if len(masks) > 1 else masks[0]}

    def _joined(self, m, en, stage, shape, direction, depth, name):
        """Results of the windows along one direction, two cycles later.

        A ``stage`` has the word, ``data`` of values of a ``shape``, and whether it is ``there``;
        and then, for this direction and those that follow, its `position`, and the ``address`` of
        its windows in a memory of ``depth`` words. The result is the same without this direction.
        """
        size, write, kept = direction.shape.width * self.lanes, None, []
        if direction.kept:
            m.submodules[name] = partial = memory.Memory(
                shape=direction.kept * size, depth=depth, init=[]
            )
            write = partial.write_port()
            read = partial.read_port(transparent_for=(write,))
            m.d.comb += [read.en.eq(en), read.addr.eq(stage[1]["address"])]
            kept = [read.data[n * size : (n + 1) * size] for n in range(direction.kept)]
        value, position, *others = _stage(m, en, stage, f"{name}_read")
        windows = []
        for n, window in enumerate(self._windows(kept, value, position, shape, direction)):
            windows.append(Signal(size, name=f"{name}_{n}"))
            m.d.comb += windows[-1].eq(window)
        if write is not None:
            # Where the oldest one ends, the others move up.
            moved = zip([*windows[1:], windows[-1]], windows, strict=True)
            after = [Mux(position["ends"], following, same) for following, same in moved]
            m.d.comb += [
                write.en.eq(en & value["there"]),
                write.addr.eq(position["address"]),
                write.data.eq(Cat(after[: direction.kept])),
            ]
        there = value["there"] & position["delivers"]
        result = value | {"data": windows[0], "there": there}
        return _stage(m, en, [result, *others], name)

    def _windows(self, kept, value, position, shape, direction):
        """What all windows have that a place is in, of what they had so far, ``kept``.

        The oldest one comes first. One that begins is the last of them.
        """
        word = Cat(_lanes(value["data"], shape, direction.shape))
        for n in range(direction.open):
            if n == direction.kept:
                yield word
                continue
            begins = position["first"]
            if n == direction.open - 1:
                begins = begins | position["begins"]
            together = self._together(kept[n], value, word, shape, direction.shape)
            yield Mux(begins, word, Mux(position["inside"], together, kept[n]))

    def _together(self, kept, value, word, shape, joined):
        """What windows have so far, and a word: values of the shape ``joined``."""
        if isinstance(self.node, MaxPool):
            return largest(word, kept, value.get("inverted"), joined)
        sums = data.ArrayLayout(joined, self.lanes)(kept)
        lanes = data.ArrayLayout(shape, self.lanes)(value["data"])
        return Cat((a + b)[: joined.width] for a, b in zip(sums, lanes, strict=True))


class OverlappingPoolStage(EvenStage):
    """Pool windows that overlap, or reach outside the frame."""

    component = OverlappingPool
    facts = ("lanes", "node.size", "stride", "node.padding")
    frames_kept = 1

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        (source,), (lanes,) = sources, fed
        stage = cls(node, source, *even_lanes(node, sources, fed))
        if not outside(*stage.directions).any():
            return super().segment(node, sources, fed, folding, pace)
        # While it is outside, it takes nothing.
        return Segment((queued(node.name, source, lanes, stage.lanes),), stage, stage.lanes)

    @cached_property
    def directions(self):
        """Columns, and rows."""
        return _directions(self.node, self.source)

    @property
    def stride(self):
        """Rows and columns from one window to the next."""
        return [axis.stride for axis in self.node.axes]

    @property
    def busy(self):
        return outside(*self.directions).size * (self.source.channels // self.lanes)

    def passage(self, arrivals, device):
        words = self.source.channels // self.lanes
        taken, ends = passed(arrivals[0], *self.directions, words)
        return [taken], ends + self.registers(device)

    def resources(self, device, depth=None):
        words, total = self.source.channels // self.lanes, Resources(luts=3 * CONTROL)
        across, down = self.directions
        for direction, depth_ in ((across, words), (down, across.count * words)):
            bits, kept = direction.shape.width, direction.kept
            # An addition or a comparison and a choice, and further choices of what is kept.
            lane = 2 * bits if bits == 1 else 2 * bits + chain(device, bits, carry_out=True)
            total += Resources(luts=kept * lane * self.lanes)
            if kept:
                total += buffer(device, kept * self.lanes * bits, depth_)
        return total


def _lanes(word, shape, wider):
    """Values of a word, of a wider shape."""
    for value in data.ArrayLayout(shape, len(word) // shape.width)(word):
        sign = value[-1] if shape.signed else Const(0)
        yield Cat(value, sign.replicate(wider.width - shape.width))


def _stage(m, en, stage, name):
    """The values of a stage, an enabled cycle later."""
    return [
        registered_all(m, en, values, f"{name}_{n}_{{}}", resets=("there",))
        for n, values in enumerate(stage)
    ]
