"""Upsampling: pixels several times."""

from amaranth import *
from amaranth.lib import memory

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.registers import registered_all
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, buffer
from xnorflow.hw.ops.stage import LaneStage, Segment, even_lanes, queued
from xnorflow.hw.ops.unit import MapUnit
from xnorflow.hw.streams.times import one_by_one
from xnorflow.hw.streams.words import words_of
from xnorflow.ir.windows import pair


__all__ = ["Upsample", "UpsampleStage"]


class Upsample(MapUnit):
    """Repeat every row, and in it every pixel.

    Delivers a word every cycle, and takes one for the first of those that are equal. The others
    come from a memory of a row, or of a pixel if rows are not repeated.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery: 2.
    """

    latency = 2

    def elaborate(self, platform):
        m = Module()
        words = self.source.channels // self.lanes
        rows, columns = pair(self.node.factor)

        valid, en, step, fresh = Signal(), Signal(), Signal(), Signal()
        word, last_word = counter(m, "word", words, step)
        again, last_again = counter(m, "again", columns, step & last_word)
        end_of_pixel = last_word & last_again
        column, last_column = counter(m, "column", self.source.width, step & end_of_pixel)
        row, _ = counter(m, "row", rows, step & end_of_pixel & last_column)
        m.d.comb += [
            fresh.eq((again == 0) & (row == 0)),
            en.eq(~valid | self.o.ready),
            step.eq(en & (self.i.valid | ~fresh)),
            self.i.ready.eq(en & fresh),
            self.o.valid.eq(valid),
        ]

        # Cycle 1: a word is written into the memory, or read. Cycle 2: either is registered.
        m.submodules.row = kept = memory.Memory(
            shape=len(self.i.payload.as_value()), depth=_depth(self.node, self.source, self.lanes),
            init=[],
        )  # fmt: skip
        write, read = kept.write_port(), kept.read_port()
        address = word if rows == 1 else column * words + word
        values = {"data": Value.cast(self.i.payload), "fresh": fresh, "there": step}
        stage = registered_all(m, en, values, "{}_1", resets=("there",))
        output = Signal(len(stage["data"]), reset_less=True)
        m.d.comb += [
            write.addr.eq(address),
            write.data.eq(values["data"]),
            write.en.eq(step & fresh),
            read.addr.eq(address),
            read.en.eq(en),
            Value.cast(self.o.payload).eq(output),
        ]
        with m.If(en):
            m.d.sync += [
                output.eq(Mux(stage["fresh"], stage["data"], read.data)),
                valid.eq(stage["there"]),
            ]

        return m


class UpsampleStage(LaneStage):
    """Repeat pixels."""

    component = Upsample
    facts = ("lanes", "node.factor")

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        (source,), (lanes,) = sources, fed
        (even,) = even_lanes(node, sources, fed)
        # While it repeats, it takes nothing.
        ahead = queued(node.name, source, lanes, even)
        return Segment((ahead,), cls(node, source, even), even)

    @property
    def busy(self):
        return words_of(self.node.infer(self.source), self.lanes)

    def passage(self, arrivals, device):
        # Words wait for those that they repeat, which come before them.
        source, (rows, columns) = self.source, pair(self.node.factor)
        words = source.channels // self.lanes
        ready = arrivals[0].reshape(-1, source.height, 1, source.width, 1, words)
        ready = ready.repeat(rows, axis=2).repeat(columns, axis=4)
        done = one_by_one(ready.ravel()).reshape(ready.shape)
        return [done[:, :, 0, :, 0].ravel()], done.ravel() + self.registers(device)

    def resources(self, device, depth=None):
        return Resources(luts=self.width + 2 * CONTROL) + buffer(
            device, self.width, _depth(self.node, self.source, self.lanes)
        )


def _depth(node, source, lanes):
    """Words of the memory."""
    rows, _ = pair(node.factor)
    return (source.width if rows > 1 else 1) * (source.channels // lanes)
