"""Parallel windows: a map of pixels becomes the windows of a convolution, one in a word."""

from dataclasses import dataclass
from functools import cached_property

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.hw.arithmetic.constants import MemoryStyle
from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.memory import buffer_style
from xnorflow.hw.arithmetic.registers import registered, registered_all
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, buffer, registers
from xnorflow.hw.ops.directions import Direction, passed, position, window_cycles
from xnorflow.hw.streams.skid_buffer import SkidBuffer
from xnorflow.hw.streams.stage import Stage
from xnorflow.hw.streams.words import map_layout, value_bits
from xnorflow.ir import Convolution, FeatureMap
from xnorflow.ir.windows import axes_of


__all__ = ["ParallelWindowStage", "ParallelWindowUnit"]


class ParallelWindowUnit(wiring.Component):
    """Deliver whole windows of a convolution (FINN: SWG with ``parallel_window``).

    Takes a pixel every cycle, except where windows reach beyond the last column or the last row:
    there, it takes as long over every place as over a pixel. The rows above a pixel that windows
    need wait in a memory, a word a column; the columns beside it are registers. A window's values
    are in the order (row, column, channel) of the kernel; taps outside the frame are 0. An output
    that is not taken stalls everything, but paths of ``ready`` end here.

    Parameters
    ----------
    source : :class:`xnorflow.ir.FeatureMap`
        The map that comes in.
    axes : tuple of :class:`xnorflow.ir.windows.Axis`
        Rows and columns of a window.
    lanes : :class:`int`
        Values of a word that is delivered; those behind a window's are 0.
    pace : :class:`int`
        Clock cycles from the end of a window to that of the next one, at least; so that what is
        behind it, if it keeps that pace, never stalls it.
    style : :class:`MemoryStyle`
        Where the memory of rows is.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a window's last pixel to its delivery: 4.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, channels)))``
    o : ``Out(stream.Signature(map_layout(source, lanes)))``

    Raises
    ------
    :exc:`ValueError`
        If a window does not fit a word.
    """

    latency = SkidBuffer.latency + 3

    def __init__(self, source, axes, *, lanes, pace=1, style=MemoryStyle.AUTO):
        down, across = axes
        taps = down.taps * across.taps * source.channels
        if lanes < taps:
            raise ValueError(f"Lanes must be at least the {taps} values of a window, not {lanes!r}")
        self.source = source
        self.down = Direction(down, source.height)
        self.across = Direction(across, source.width)
        self.lanes = lanes
        self.pace = pace
        self.style = style
        super().__init__({
            "i": In(stream.Signature(map_layout(source, source.channels))),
            "o": Out(stream.Signature(map_layout(source, lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        across, down = self.across, self.down
        m.submodules.skid = skid = SkidBuffer(self.i.payload.shape())
        connect(m, flipped(self.i), skid.i)

        en, free, step, beyond = Signal(), Signal(), Signal(), Signal()
        delivers, ended = Signal(), Signal()
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            free.eq(en & ~(delivers & self._soon(m, en, ended))),
            step.eq(free & (skid.o.valid | beyond)),
            skid.o.ready.eq(free & ~beyond),
        ]
        column, last_column = counter(m, "column", across.places, step)
        row, last_row = counter(m, "row", down.places, step & last_column)
        along = position(m, across, column, last_column, step, "column")
        below = position(m, down, row, last_row, step & last_column, "row")
        m.d.comb += [
            beyond.eq(~along["inside"] | ~below["inside"]),
            delivers.eq(along["delivers"] & below["delivers"]),
        ]

        # Cycle 1: the rows above are read. Cycle 2: what is outside the frame becomes 0.
        pixel = skid.o.payload.as_value()
        marks = {"there": step, "first": along["first"], "delivers": delivers}
        read = {"pixel": Mux(beyond, 0, pixel), "column": column, "inside": along["inside"]}
        # A row above may be outside the frame at its upper edge.
        read |= {f"has_{n}": row >= n for n in range(1, down.axis.span)}
        read = registered_all(m, en, marks | read, "{}_1", resets=("there",))
        m.d.comb += ended.eq(read["there"] & read["delivers"])
        rows = [read["pixel"]]
        for n, above in enumerate(self._rows_above(m, en, read, column), 1):
            rows.append(Mux(read["inside"] & read[f"has_{n}"], above, 0))
        needed = registered(m, en, Cat(rows[:: down.axis.dilation]), "rows_2")
        marks = {name: read[name] for name in marks}
        marks = registered_all(m, en, marks, "{}_2", resets=("there",))

        # Cycle 3: a column comes, and the others move on.
        columns = self._columns(m, en & marks["there"], marks["first"], needed)
        with m.If(en):
            m.d.sync += self.o.valid.eq(marks["there"] & marks["delivers"])
        taps = [
            columns[c * across.axis.dilation].word_select(r, len(pixel))
            for r in reversed(range(down.axis.taps))
            for c in reversed(range(across.axis.taps))
        ]
        m.d.comb += self.o.payload.as_value().eq(Cat(taps))

        return m

    def _soon(self, m, en, ended):
        """Whether a window that ends now comes too soon: one has ``ended`` a cycle ago, or since.

        Nothing here waits for what happens in a cycle, so that its paths are short.
        """
        if self.pace == 1:
            return Const(0)
        wait, waits = Signal(range(self.pace)), Signal()
        with m.If(en & ended):
            m.d.sync += [wait.eq(self.pace - 2), waits.eq(self.pace > 2)]
        with m.Elif(waits):
            m.d.sync += [wait.eq(wait - 1), waits.eq(wait != 1)]
        return ended | waits

    def _rows_above(self, m, en, read, column):
        """Pixels of the rows above, the nearest one first, in the cycle of ``read``."""
        size = len(read["pixel"])
        count = self.down.axis.span - 1
        if not count:
            return []
        m.submodules.rows = rows = memory.Memory(
            shape=count * size,
            depth=self.source.width,
            init=[],
            attrs=self.style.attributes(),
        )
        write = rows.write_port()
        # With a single column, a word is written while the next one is read.
        port = rows.read_port(transparent_for=(write,) if self.across.places == 1 else ())
        m.d.comb += [
            port.en.eq(en),
            port.addr.eq(column),
            write.en.eq(en & read["there"] & read["inside"]),
            write.addr.eq(read["column"]),
            write.data.eq(Cat(read["pixel"], port.data)),
        ]
        return [port.data.word_select(n, size) for n in range(count)]

    def _columns(self, m, step, first, column):
        """The latest columns of a row of pixels, the newest one first; 0 where there is none."""
        span = self.across.axis.span
        columns = [
            Signal(len(column), name=f"column_{n}_back", reset_less=True) for n in range(span)
        ]
        with m.If(step):
            m.d.sync += columns[0].eq(column)
            m.d.sync += [columns[n].eq(Mux(first, 0, columns[n - 1])) for n in range(1, span)]
        return columns


@dataclass(frozen=True)
class ParallelWindowStage(Stage):
    """Deliver windows in words of ``word`` values, one every ``pace`` cycles."""

    node: Convolution
    source: FeatureMap
    word: int
    pace: int

    component = ParallelWindowUnit
    facts = ("lanes", "word", "pace", "kernel", "node.stride", "node.padding")
    frames_kept = 1
    may_wait = True

    @property
    def name(self) -> str:
        return f"{self.node.name}_windows"

    @property
    def lanes(self) -> int:
        """Values of a word that comes in: a pixel."""
        return self.source.channels

    @property
    def kernel(self) -> list[int]:
        """Rows and columns of a window."""
        return list(self.node.weights.shape[1:3])

    @cached_property
    def axes(self):
        """Rows and columns of a window."""
        return axes_of(self.kernel, self.node.stride, self.node.padding, self.node.dilation)

    @cached_property
    def directions(self):
        """Columns, and rows."""
        down, across = self.axes
        return Direction(across, self.source.width), Direction(down, self.source.height)

    @property
    def busy(self):
        return window_cycles(*self.directions, self.pace)

    def passage(self, arrivals, device):
        taken, ends = passed(arrivals[0], *self.directions, pace=self.pace)
        return [taken], ends + self.registers(device)

    def resources(self, device, depth=None):
        down, across = self.axes
        pixel = self.source.channels * value_bits(self.source)
        kept = down.span * pixel + across.span * down.taps * pixel
        total = Resources(luts=2 * CONTROL + (down.span + 1) * pixel) + registers(
            device, kept + 2 * pixel
        )
        if down.span == 1:
            return total
        return total + buffer(device, (down.span - 1) * pixel, self.source.width, buffer_style)

    def build(self, device, depth):
        down, _ = self.axes
        width = (down.span - 1) * self.source.channels * value_bits(self.source)
        style = buffer_style(device, width, self.source.width) if width else MemoryStyle.AUTO
        return ParallelWindowUnit(
            self.source, self.axes, lanes=self.word, pace=self.pace, style=style
        )
