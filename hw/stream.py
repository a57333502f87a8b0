"""What flows between components, and the components that only move it.

A *vector* is what one neuron sees: the pixel's channels, or for a dense layer the whole frame. It
travels as ``ceil(length / lanes)`` words of `lanes` consecutive values, lowest index in lane 0.
Where the lanes do not divide the length, the last word's spare lanes are undefined, and whoever
reads them masks them. Words are counted; nothing inside an accelerator marks first or last.
"""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.network import Bit, Counts, Int, UInt


__all__ = [
    "Fifo",
    "Fork",
    "SkidBuffer",
    "WidthConverter",
    "WidthDivider",
    "check_lanes",
    "lane_layout",
    "map_layout",
    "value_shape",
]


def lane_layout(shape, lanes, *, popcount=None):
    """Payload of a word: ``lanes`` values of ``shape``, and where one goes along the popcount P.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One value.
    lanes : :class:`int`
        Values a word.
    popcount : :class:`ShapeLike`, optional
        Shape of P, if words carry it.
    """
    members = {"lanes": data.ArrayLayout(shape, lanes)}
    if popcount is not None:
        members["popcount"] = popcount
    return data.StructLayout(members)


def value_shape(value_type):
    """Shape of one value of a :class:`xnorflow.network.ValueType`."""
    match value_type:
        case Bit():
            return unsigned(1)
        case UInt(bits):
            return unsigned(bits)
        case Int(bits):
            return signed(bits)
        case Counts(taps):
            return Shape.cast(range(taps + 1))


def map_layout(feature_map, lanes):
    """Payload of a word of :class:`xnorflow.network.FeatureMap` ``feature_map``."""
    shape = value_shape(feature_map.type)
    popcount = isinstance(feature_map.type, Counts) and feature_map.type.popcount
    return lane_layout(shape, lanes, popcount=shape if popcount else None)


def check_lanes(source, lanes):
    """Check that words of ``lanes`` values do not cut pixels of a feature map ``source``.

    Raises
    ------
    :exc:`ValueError`
        If the lanes do not divide the channels.
    """
    if lanes < 1 or source.channels % lanes:
        raise ValueError(f"Lanes must divide the {source.channels} channels, not {lanes!r}")


class WidthConverter(wiring.Component):
    """Gather the narrow words of a vector into wide ones (FINN: DWC).

    Accepts a word every cycle. A wide word is delivered 1 cycle after its last narrow one; the last
    word of a vector leaves as soon as the vector is complete, whatever its spare lanes hold.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One value.
    lanes : :class:`int`
        Values of a narrow word.
    ratio : :class:`int`
        Narrow words in a wide word, at least 2.
    words : :class:`int`
        Narrow words of a vector.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer that completes a word to its delivery: 1.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(shape, lanes)))``
    o : ``Out(stream.Signature(lane_layout(shape, lanes * ratio)))``

    Raises
    ------
    :exc:`ValueError`
        If ``ratio`` is less than 2, or ``lanes`` or ``words`` less than 1.
    """

    latency = 1

    def __init__(self, shape, *, lanes, ratio, words):
        if ratio < 2:
            raise ValueError(f"Ratio of a width converter must be at least 2, not {ratio!r}")
        if lanes < 1 or words < 1:
            raise ValueError(f"Lanes and words must be at least 1, not {lanes!r} and {words!r}")
        self.ratio = ratio
        self.words = words
        super().__init__({
            "i": In(stream.Signature(lane_layout(shape, lanes))),
            "o": Out(stream.Signature(lane_layout(shape, lanes * ratio))),
        })

    def elaborate(self, platform):
        m = Module()

        slot = Signal(range(self.ratio))
        word = Signal(range(self.words))
        last = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            last.eq(word == self.words - 1),
        ]

        # Words come in at the upper end, and move down. Those of a vector's last wide word, if they
        # are fewer, come in where they will be when it is complete; what is above them is spare.
        word_bits = len(self.i.payload.as_value())
        register = Signal(word_bits * self.ratio, reset_less=True)
        m.d.comb += self.o.payload.as_value().eq(register)
        parts = data.View(data.ArrayLayout(word_bits, self.ratio), register)
        following = [*(parts[n + 1] for n in range(self.ratio - 1)), self.i.payload.as_value()]
        rest = self.words % self.ratio
        if rest:
            following[rest - 1] = Mux(
                word >= self.words - rest, self.i.payload.as_value(), following[rest - 1]
            )
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(0)
            with m.If(self.i.valid):
                m.d.sync += [
                    register.eq(Cat(following)),
                    slot.eq(slot + 1),
                    word.eq(Mux(last, 0, word + 1)),
                ]
                with m.If(last | (slot == self.ratio - 1)):
                    m.d.sync += [slot.eq(0), self.o.valid.eq(1)]

        return m


class WidthDivider(wiring.Component):
    """Hand the wide words of a vector on as narrow ones; P goes along with each.

    Delivers a word every cycle, the first 1 cycle after the wide one came, which is taken when the
    one before it has been delivered. Of the last word of a vector, only what belongs to it.

    Parameters
    ----------
    source : :class:`xnorflow.network.FeatureMap`
        What the values are.
    lanes : :class:`int`
        Values of a narrow word.
    ratio : :class:`int`
        Narrow words in a wide word, at least 2.
    words : :class:`int`
        Narrow words of a vector.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to the delivery of its first part: 1.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes * ratio)))``
    o : ``Out(stream.Signature(map_layout(source, lanes)))``

    Raises
    ------
    :exc:`ValueError`
        If ``ratio`` is less than 2, or ``lanes`` or ``words`` less than 1.
    """

    latency = 1

    def __init__(self, source, *, lanes, ratio, words):
        if ratio < 2:
            raise ValueError(f"Ratio of a width divider must be at least 2, not {ratio!r}")
        if lanes < 1 or words < 1:
            raise ValueError(f"Lanes and words must be at least 1, not {lanes!r} and {words!r}")
        self.ratio = ratio
        self.words = words
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes * ratio))),
            "o": Out(stream.Signature(map_layout(source, lanes))),
        })

    def elaborate(self, platform):
        m = Module()

        word = Signal(range(self.words))
        part = Signal(range(self.ratio))
        last_word, last_part = Signal(), Signal()
        m.d.comb += [
            last_word.eq(word == self.words - 1),
            last_part.eq(last_word | (part == self.ratio - 1)),
            self.i.ready.eq(~self.o.valid | (last_part & self.o.ready)),
        ]

        wide = Signal(self.i.p.shape(), reset_less=True)
        rest = wide.lanes.as_value()
        m.d.comb += self.o.p.lanes.as_value().eq(rest)
        if "popcount" in self.o.p.shape().members:
            m.d.comb += self.o.p.popcount.eq(wide.popcount)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                rest.eq(rest >> len(self.o.p.lanes.as_value())),
                word.eq(Mux(last_word, 0, word + 1)),
                part.eq(Mux(last_part, 0, part + 1)),
            ]
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), wide.eq(self.i.p)]

        return m


class Fifo(wiring.Component):
    """A queue of stream words, with registered outputs on both sides.

    From 3 words on it takes and delivers one every cycle.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Payload.
    depth : :class:`int`
        Words it holds, at least 1.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery, if the queue is empty: 2. With a
        depth of 1, it is 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``

    Raises
    ------
    :exc:`ValueError`
        If ``depth`` is less than 1.
    """

    latency = 2

    def __init__(self, shape, depth):
        if depth < 1:
            raise ValueError(f"Depth of a FIFO must be at least 1, not {depth!r}")
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        payload = Value.cast(self.i.payload)
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=len(payload), depth=self.depth)
        m.d.comb += [
            queue.w_data.eq(payload),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            Value.cast(self.o.payload).eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        return m


class SkidBuffer(wiring.Component):
    """A register in both directions: neither ``valid`` nor ``ready`` passes in the same cycle.

    A word can pass every cycle. A second register keeps what comes while the first is waited for.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Payload.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery: 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``
    """

    latency = 1

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()

        word, spare = (
            Signal(self.i.p.shape(), name=name, reset_less=True) for name in ("word", "spare")
        )
        spare_valid = Signal()
        m.d.comb += [self.o.p.eq(word), self.i.ready.eq(~spare_valid)]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(spare_valid | self.i.valid),
                word.eq(Mux(spare_valid, spare, self.i.p)),
                spare_valid.eq(0),
            ]
        with m.Elif(self.i.ready):
            m.d.sync += [spare_valid.eq(self.i.valid), spare.eq(self.i.p)]

        return m


class Fork(wiring.Component):
    """Hand every word to several consumers, each at its own pace.

    A consumer that is ready takes its copy at once; the next word follows when all have theirs. A
    word can pass every cycle, through a `SkidBuffer`.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Payload.
    consumers : :class:`int`
        Number of copies, at least 2.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery: 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape)).array(consumers)``

    Raises
    ------
    :exc:`ValueError`
        If there are fewer than 2 consumers.
    """

    latency = 1

    def __init__(self, shape, consumers):
        if consumers < 2:
            raise ValueError(f"A fork must have at least 2 consumers, not {consumers!r}")
        self.shape = shape
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)).array(consumers),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.skid = skid = SkidBuffer(self.shape)
        connect(m, flipped(self.i), skid.i)
        served = Signal(len(self.o))  # consumers that have their copy of the word
        after = Signal.like(served)
        for n, o in enumerate(self.o):
            m.d.comb += [
                o.p.eq(skid.o.p),
                o.valid.eq(skid.o.valid & ~served[n]),
                after[n].eq(served[n] | (o.valid & o.ready)),
            ]
        m.d.comb += skid.o.ready.eq(after.all())
        with m.If(skid.o.valid):
            m.d.sync += served.eq(Mux(skid.o.ready, 0, after))

        return m
