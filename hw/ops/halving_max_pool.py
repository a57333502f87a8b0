"""Largest values around every other pixel."""

import numpy as np
from amaranth import *
from amaranth.lib import data, memory

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.registers import registered_all
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, buffer, chain
from xnorflow.hw.ops.stage import EvenStage
from xnorflow.hw.ops.unit import MapUnit
from xnorflow.hw.streams.times import pixels_of
from xnorflow.hw.streams.words import value_bits


__all__ = ["HalvingMaxPool", "HalvingMaxPoolStage"]


class HalvingMaxPool(MapUnit):
    """Largest of the 3 × 3 values around every other pixel.

    Takes a word every cycle. Largest values of three pixels side by side are found first, and from
    these the largest of three rows; what windows have so far waits in a memory of one pixel, and in
    one of a row of them. An output that is not taken stalls everything.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a window's last word to its delivery: 5.
    """

    latency = 5

    def elaborate(self, platform):
        m = Module()
        source = self.source
        words, row_words = _words(source, self.lanes)

        valid, en, step = Signal(), Signal(), Signal()
        m.d.comb += [
            en.eq(~valid | self.o.ready),
            step.eq(en & self.i.valid),
            self.i.ready.eq(en),
            self.o.valid.eq(valid),
        ]

        # Where the word that comes in belongs: channels run fastest, then columns, then rows.
        word, last_word = counter(m, "word", words, step)
        column, last_column = counter(m, "column", source.width, step & last_word)
        row, last_row = counter(m, "row", source.height, step & last_word & last_column)
        first_word = Signal(range(row_words))  # of the window, in the memory of a row
        with m.If(step & last_word):
            with m.If(last_column):
                m.d.sync += first_word.eq(0)
            with m.Elif(_odd(column)):
                m.d.sync += first_word.eq(first_word + words)

        # Cycle 1: the word is registered. Cycles 2 and 3: the columns. Cycles 4 and 5: the rows.
        down = {"address": (first_word + word)[: len(first_word)]} | _position(row, last_row)
        along = {"address": word} | _position(column, last_column)
        value = {"data": Value.cast(self.i.payload), "there": step}
        stage = _stage(m, en, [value, along, down], "word")
        stage = self._largest(m, en, stage, words, "columns")
        stage = self._largest(m, en, stage, row_words, "rows")
        (value,) = stage
        m.d.comb += [valid.eq(value["there"]), Value.cast(self.o.payload).eq(value["data"])]

        return m

    def _largest(self, m, en, stage, depth, name):
        """Largest values along one direction, two cycles later.

        A ``stage`` has the word, ``data``, and whether it is ``there``; and then, for this
        direction and those that follow, where it belongs: the ``address`` of its window in a memory
        of ``depth`` words, and its `_position`. The result is the same without this direction.
        """
        m.submodules[name] = kept = memory.Memory(shape=len(stage[0]["data"]), depth=depth, init=[])
        write = kept.write_port()
        read = kept.read_port(transparent_for=(write,))
        m.d.comb += [read.en.eq(en), read.addr.eq(stage[1]["address"])]
        value, position, *others = _stage(m, en, stage, f"{name}_read")

        lanes = data.ArrayLayout(signed(self.source.type.bits), self.lanes)
        largest = Signal(lanes, name=f"{name}_largest")
        for n in range(self.lanes):
            new, before = lanes(value["data"])[n], lanes(read.data)[n]
            m.d.comb += largest[n].eq(Mux(position["first"] | (new > before), new, before))
        # A pixel in an odd place is the last one of its window, and the first one of the next.
        m.d.comb += [
            write.en.eq(en & value["there"]),
            write.addr.eq(position["address"]),
            write.data.eq(Mux(position["odd"], value["data"], largest)),
        ]
        there = value["there"] & (position["odd"] | position["last"])
        result = {"data": largest.as_value(), "there": there}
        return _stage(m, en, [result, *others], name)


class HalvingMaxPoolStage(EvenStage):
    """Find the largest value around every other pixel."""

    component = HalvingMaxPool
    frames_kept = 1

    def passage(self, arrivals, device):
        # The last window of an odd number ends with the frame.
        rows, columns = (
            np.minimum(np.arange(1, side + 1, 2), side - 1)
            for side in (self.source.height, self.source.width)
        )
        ends = pixels_of(arrivals[0], self.source, self.lanes)[:, rows][:, :, columns]
        return arrivals, ends.ravel() + self.registers(device)

    def resources(self, device, depth=None):
        bits, lanes = value_bits(self.source), self.lanes
        # In each direction a comparison, a choice, and another one of what is kept.
        logic = 2 * lanes * (chain(device, bits, carry_out=True) + 2 * bits)
        memories = (buffer(device, lanes * bits, words) for words in _words(self.source, lanes))
        return sum(memories, Resources(luts=logic + 3 * CONTROL))


def _words(source, lanes):
    """Words of the memories: of a pixel, and of a row that it delivers."""
    words = source.channels // lanes
    return words, -(-source.width // 2) * words


def _odd(count):
    """Whether a count is odd; it may have no bits."""
    return (count & 1).any()


def _position(count, last):
    """Facts that follow from a place along one direction."""
    return {"first": count == 0, "odd": _odd(count), "last": last}


def _stage(m, en, stage, name):
    """The values of a stage, an enabled cycle later."""
    return [
        registered_all(m, en, values, f"{name}_{n}_{{}}", resets=("there",))
        for n, values in enumerate(stage)
    ]
