"""Affine post-processing: counts become scores."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.constants import ConstantTable, MemoryStyle, channel_rows
from xnorflow.hw.stream import map_layout


__all__ = ["PostProcess", "affine_rows"]


def affine_rows(node, *, lanes, vector):
    """Layout and contents of the constants of a `PostProcess`, as `channel_rows` gives them."""
    columns = {"scale": node.scale, "offset": node.offset}
    if node.popcount_scale is not None:
        columns["popcount_scale"] = node.popcount_scale
    return channel_rows(columns, lanes=lanes, vector=vector)


class PostProcess(wiring.Component):
    """Scale and shift each value by its channel's constants.

    Computes ``scale * x + popcount_scale * P + offset``. Takes a word every cycle; an output that
    is not taken stalls the whole pipeline. A scale that all channels share costs no multiplier.

    Parameters
    ----------
    node : :class:`xnorflow.network.Affine`
        The constants.
    source : :class:`xnorflow.network.FeatureMap`
        What the values are.
    lanes : :class:`int`
        Values a word.
    vector : :class:`int`
        Values of a vector: the channels of a pixel, or several whole pixels.
    style : :class:`MemoryStyle`
        Where the constants are kept.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 4.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    o : ``Out(stream.Signature(map_layout(node.infer(source), lanes)))``

    Raises
    ------
    NetworkError
        If the node does not fit its source.
    """

    latency = 4

    def __init__(self, node, source, *, lanes, vector, style=MemoryStyle.AUTO):
        self.node = node
        self.lanes = lanes
        layout, rows = affine_rows(node, lanes=lanes, vector=vector)
        self._constants = ConstantTable(layout, rows, style=style)
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "o": Out(stream.Signature(map_layout(node.infer(source), lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.constants = constants = self._constants

        valid = Signal(self.latency)
        en = Signal()
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(en),
            self.o.valid.eq(valid[-1]),
            constants.en.eq(en),
            constants.step.eq(self.i.valid),
        ]

        # Cycles 1 and 2: the word waits for its constants.
        waiting = Signal(self.i.p.shape(), reset_less=True)
        word = Signal(self.i.p.shape(), reset_less=True)
        stages = [valid.eq(Cat(self.i.valid, valid)), waiting.eq(self.i.p), word.eq(waiting)]
        row = constants.row

        shared = len(set(self.node.scale.tolist())) == 1
        for n in range(self.lanes):
            # Cycle 3: the products.
            scale = Const(int(self.node.scale[0])) if shared else row.scale[n]
            terms = [scale * word.lanes[n], row.offset[n]]
            if self.node.popcount_scale is not None:
                terms.append(row.popcount_scale[n] * word.popcount)
            registers = [
                Signal(term.shape(), name=f"term_{n}_{k}", reset_less=True)
                for k, term in enumerate(terms)
            ]
            stages += [r.eq(term) for r, term in zip(registers, terms, strict=True)]
            # Cycle 4: their sum.
            score = Signal(self.o.p.lanes[n].shape(), name=f"value_{n}", reset_less=True)
            m.d.comb += self.o.p.lanes[n].eq(score)
            stages.append(score.eq(sum(registers)))
        with m.If(en):
            m.d.sync += stages

        return m
