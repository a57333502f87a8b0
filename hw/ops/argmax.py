"""The result of a frame: the scores, and the class label, which tells the largest."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.registers import registered, registered_all
from xnorflow.hw.arithmetic.resources import Resources, chain, registers
from xnorflow.hw.ops.stage import LaneStage, Segment
from xnorflow.hw.streams.skid_buffer import SkidBufferStage
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.words import map_layout, value_bits, value_shape
from xnorflow.ir import int_bits


__all__ = [
    "ArgMax",
    "ArgMaxStage",
    "Scores",
    "ScoresStage",
    "argmax_latency",
    "result_layout",
]


def argmax_latency(lanes):
    """Clock cycles of an `ArgMax`: to take a word, for each level of its tree, and for the best."""
    return 2 + ceil_log2(lanes)


def result_layout(scores, score_bits, *, labelled=True):
    """Payload of a result: the label, if there is one, and all scores, the first one lowest."""
    label = {"label": range(max(2, scores))} if labelled else {}
    return data.StructLayout(label | {"scores": data.ArrayLayout(signed(score_bits), scores)})


class ArgMax(wiring.Component):
    """Find the largest score of a frame; on a tie the lowest class (FINN: LabelSelect).

    A single score gives the label 1 if it is at least 0, else 0.

    Takes a word every cycle, and delivers the label and all scores once the frame is complete.
    Every comparison is followed by a register.

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
        Clock cycles from the transfer of a frame's last word to the delivery of its result: see
        `argmax_latency`.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    o : ``Out(stream.Signature(result_layout(classes, score_bits)))``

    Raises
    ------
    :exc:`ValueError`
        If there is no lane.
    """

    def __init__(self, source, *, lanes):
        if lanes < 1:
            raise ValueError(f"Number of lanes must be at least 1, not {lanes!r}")
        self.classes = source.channels
        self.lanes = lanes
        self.latency = argmax_latency(lanes)
        self._least = source.type.low
        self._score = value_shape(source.type)
        score_bits = int_bits(source.type.low, source.type.high)
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "o": Out(stream.Signature(result_layout(self.classes, score_bits))),
        })

    def elaborate(self, platform):
        m = Module()
        en = Signal()
        m.d.comb += [en.eq(~self.o.valid | self.o.ready), self.i.ready.eq(en)]

        words = -(-self.classes // self.lanes)
        step = Signal()
        m.d.comb += step.eq(en & self.i.valid)
        word, last = counter(m, "word", words, step)
        # Spare lanes of the last word never win: they hold the least score, and the last classes.
        spare = words * self.lanes - self.classes
        lanes = Signal(data.ArrayLayout(self._score, self.lanes))
        m.d.comb += lanes.eq(self.i.p.lanes)
        with m.If(last):
            m.d.comb += [lanes[self.lanes - 1 - n].eq(self._least) for n in range(spare)]

        # The best lane of a word, by a tree.
        kept = {"valid": self.i.valid, "first": word == 0, "last": last, "word": word}
        kept |= {f"score_{n}": Value.cast(lanes[n]) for n in range(self.lanes)}
        kept = registered_all(m, en, kept, "{}_0", resets={"valid"})
        entries = [(self._scores(kept)[n], Const(n, range(self.lanes))) for n in range(self.lanes)]
        for level in range(1, ceil_log2(self.lanes) + 1):
            kept = registered_all(m, en, kept, f"{{}}_{level}", resets={"valid"})
            pairs = [entries[n : n + 2] for n in range(0, len(entries), 2)]
            entries = [self._larger(m, en, pair, f"{level}_{n}") for n, pair in enumerate(pairs)]

        # The best word so far, and the scores so far, which move down as words come in.
        ((score, lane),) = entries
        best = Signal(self._score, reset_less=True)
        best_label = Signal(range(words * self.lanes), reset_less=True)
        scores = Signal(data.ArrayLayout(self._score, words * self.lanes), reset_less=True)
        arrived = Cat(self._scores(kept))
        with m.If(en):
            m.d.sync += self.o.valid.eq(kept["valid"] & kept["last"])
            with m.If(kept["valid"]):
                m.d.sync += scores.eq(Cat(scores, arrived)[len(arrived) :])
                with m.If(kept["first"] | (score > best)):
                    m.d.sync += [best.eq(score), best_label.eq(kept["word"] * self.lanes + lane)]
        m.d.comb += self.o.p.label.eq(best_label if self.classes > 1 else best >= 0)
        m.d.comb += [self.o.p.scores[n].eq(scores[n]) for n in range(self.classes)]

        return m

    def _scores(self, kept):
        """The scores among the values of a pipeline stage."""
        return [kept[f"score_{n}"] for n in range(self.lanes)]

    def _larger(self, m, en, pair, name):
        """Register of the larger of two entries, the first one on a tie, or of the only one."""
        score, lane = pair[0]
        if len(pair) == 2:
            second = pair[1][0] > score
            score, lane = Mux(second, pair[1][0], score), Mux(second, pair[1][1], lane)
        return registered(m, en, score, f"score_{name}"), registered(m, en, lane, f"lane_{name}")


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

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        # Whoever takes results holds up the scores only a cycle later.
        (source,), (lanes,) = sources, fed
        cut = SkidBufferStage(f"{node.name}_cut", source, lanes)
        return Segment(((cut,),), cls(node, source, lanes), lanes)

    def passage(self, arrivals, device):
        return _last_words(self, arrivals, device)

    def registers(self, device):
        return argmax_latency(self.lanes)

    def resources(self, device, depth=None):
        bits, channels = value_bits(self.source), self.source.channels
        comparison = chain(device, bits, carry_out=True) + bits + ceil_log2(channels)
        words = self.registers(device) - 1  # that are delayed until the best lane is known
        kept = registers(device, bits * (channels + self.lanes * (words + 1)))
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
