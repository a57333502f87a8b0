"""The result of a frame: the scores, and the class label, which tells the largest."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.resources import Resources, chain, registers
from xnorflow.hw.ops.stage import LaneStage
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.words import map_layout, value_bits, value_shape
from xnorflow.ir import int_bits


__all__ = ["ArgMax", "ArgMaxStage", "Scores", "ScoresStage", "result_layout"]


def result_layout(scores, score_bits, *, labelled=True):
    """Payload of a result: the label, if there is one, and all scores, the first one lowest."""
    label = {"label": range(max(2, scores))} if labelled else {}
    return data.StructLayout(label | {"scores": data.ArrayLayout(signed(score_bits), scores)})


class ArgMax(wiring.Component):
    """Find the largest score of a frame; on a tie the lowest class (FINN: LabelSelect).

    A single score gives the label 1 if it is at least 0, else 0.

    Takes a word every cycle, and delivers the label and all scores once the frame is complete.

    Parameters
    ----------
    source : :class:`xnorflow.ir.FeatureMap`
        The scores, a 1×1 map; results have them as signed integers of the narrowest type that
        holds them.
    lanes : :class:`int`
        Scores a word.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a frame's last word to the delivery of its result: 2.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    o : ``Out(stream.Signature(result_layout(classes, score_bits)))``

    Raises
    ------
    :exc:`ValueError`
        If there is no lane.
    """

    latency = 2

    def __init__(self, source, *, lanes):
        if lanes < 1:
            raise ValueError(f"Number of lanes must be at least 1, not {lanes!r}")
        self.classes = source.channels
        self.lanes = lanes
        self._least = source.type.low
        self._score = value_shape(source.type)
        score_bits = int_bits(source.type.low, source.type.high)
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "o": Out(stream.Signature(result_layout(self.classes, score_bits))),
        })

    def elaborate(self, platform):
        m = Module()
        words = -(-self.classes // self.lanes)
        spare = words * self.lanes - self.classes
        entry_layout = data.StructLayout({
            "score": self._score,
            "label": range(words * self.lanes),
        })

        def better(name, a, b):
            """The entry with the larger score; ``a``, which holds the lower class, on a tie."""
            winner = Signal(entry_layout, name=name)
            m.d.comb += winner.eq(Mux(b.score > a.score, b, a))
            return winner

        en = Signal()
        m.d.comb += [en.eq(~self.o.valid | self.o.ready), self.i.ready.eq(en)]

        first, last = Signal(), Signal()
        base = Signal(range(words * self.lanes))  # class of lane 0
        m.d.comb += [first.eq(base == 0), last.eq(base == (words - 1) * self.lanes)]
        with m.If(en & self.i.valid):
            m.d.sync += base.eq(Mux(last, 0, base + self.lanes))

        # Cycle 1: the best lane of the word, by a tree. Spare lanes of the last word never win:
        # they hold the least score, and the highest classes.
        entries = []
        for n in range(self.lanes):
            entry = Signal(entry_layout, name=f"entry_{n}")
            m.d.comb += [entry.score.eq(self.i.p.lanes[n]), entry.label.eq(base + n)]
            if n >= self.lanes - spare:
                with m.If(last):
                    m.d.comb += entry.score.eq(self._least)
            entries.append(entry)
        while len(entries) > 1:
            pairs = [entries[n : n + 2] for n in range(0, len(entries), 2)]
            entries = [
                better(f"better_{len(pairs)}_{n}", *pair) if len(pair) == 2 else pair[0]
                for n, pair in enumerate(pairs)
            ]
        valid_1 = Signal()
        first_1, last_1 = Signal(reset_less=True), Signal(reset_less=True)
        best_1 = Signal(entry_layout, reset_less=True)
        word_1 = Signal(self.i.p.shape(), reset_less=True)

        # Cycle 2: the best word so far, and the scores so far, which move down as words come in.
        best = Signal(entry_layout, reset_less=True)
        scores = Signal(data.ArrayLayout(self._score, words * self.lanes), reset_less=True)
        with m.If(en):
            m.d.sync += [
                valid_1.eq(self.i.valid),
                first_1.eq(first),
                last_1.eq(last),
                best_1.eq(entries[0]),
                word_1.eq(self.i.p),
                self.o.valid.eq(valid_1 & last_1),
            ]
            with m.If(valid_1):
                m.d.sync += [
                    best.eq(Mux(first_1, best_1, better("winner", best, best_1))),
                    scores.eq(Cat(scores, word_1)[len(word_1.as_value()) :]),
                ]
        m.d.comb += self.o.p.label.eq(best.label if self.classes > 1 else best.score >= 0)
        m.d.comb += [self.o.p.scores[n].eq(scores[n]) for n in range(self.classes)]

        return m


class Scores(wiring.Component):
    """Gather the scores of a frame, where no label is wanted.

    Takes a word every cycle, and delivers all scores once the frame is complete.

    Parameters
    ----------
    source : :class:`xnorflow.ir.FeatureMap`
        As for :class:`ArgMax`.
    lanes : :class:`int`
        Scores a word.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a frame's last word to the delivery of its result: 1.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    o : ``Out(stream.Signature(result_layout(channels, score_bits, labelled=False)))``
    """

    latency = 1

    def __init__(self, source, *, lanes):
        self.source = source
        self.lanes = lanes
        score_bits = int_bits(source.type.low, source.type.high)
        result = result_layout(source.channels, score_bits, labelled=False)
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "o": Out(stream.Signature(result)),
        })

    def elaborate(self, platform):
        m = Module()
        words = -(-self.source.channels // self.lanes)

        step = Signal()
        _, last = counter(m, "word", words, step)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            step.eq(self.i.valid & self.i.ready),
        ]
        # The scores so far, which move down as words come in.
        shape = data.ArrayLayout(value_shape(self.source.type), words * self.lanes)
        scores = Signal(shape, reset_less=True)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(step & last)
        with m.If(step):
            m.d.sync += scores.eq(Cat(scores, self.i.p)[len(self.i.p.as_value()) :])
        m.d.comb += [self.o.p.scores[n].eq(scores[n]) for n in range(self.source.channels)]

        return m


def _last_words(stage, arrivals, device):
    """Passage of a stage that delivers when the last word of a frame has come."""
    words = -(-stage.source.channels // stage.lanes)
    return arrivals, arrivals[0][words - 1 :: words] + stage.registers(device)


class ArgMaxStage(LaneStage):
    """Find the label."""

    component = ArgMax
    frames_kept = 1

    def passage(self, arrivals, device):
        return _last_words(self, arrivals, device)

    def resources(self, device, depth=None):
        bits, channels = value_bits(self.source), self.source.channels
        comparison = chain(device, bits, carry_out=True) + bits + ceil_log2(channels)
        kept = registers(device, bits * (channels + 2 * self.lanes))
        return Resources(luts=self.lanes * comparison) + kept

    def build(self, device, depth):
        return ArgMax(self.source, lanes=self.lanes)


class ScoresStage(StreamStage):
    """Gather the scores."""

    component = Scores
    frames_kept = 1

    def passage(self, arrivals, device):
        return _last_words(self, arrivals, device)

    def resources(self, device, depth=None):
        return registers(device, value_bits(self.source) * self.source.channels)

    def build(self, device, depth):
        return Scores(self.source, lanes=self.lanes)
