"""Matrix-vector unit: binary weights times a vector of bits, folded in time."""

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.hw.accumulator import accumulate
from xnorflow.hw.constants import MemoryStyle
from xnorflow.hw.device import Family
from xnorflow.hw.operands import Operands, delayed, weight_rows
from xnorflow.hw.popcount import Popcount, popcount_latency
from xnorflow.hw.stream import lane_layout
from xnorflow.network import Gate


__all__ = ["MatrixVectorUnit", "mvu_latency"]


def mvu_latency(simd, family):
    """Clock cycles from a vector's last word to the first counts: ring, memory, popcount, sum."""
    return Operands.latency + popcount_latency(simd, family) + 1


class MatrixVectorUnit(wiring.Component):
    """Count, for every neuron, the synapses where the gate gives 1 (FINN: MVU).

    Works on ``pe`` neurons and ``simd`` synapses of each in a cycle, so that a vector takes
    ``neuron_fold * synapse_fold`` cycles, and the next one follows without a gap: see `Operands`.

    Neither ``simd`` nor ``pe`` needs to divide the matrix: spare lanes of a vector's last word are
    masked, spare neurons of the last fold deliver counts that mean nothing.

    Parameters
    ----------
    weights : array of bool, (matrix_height, matrix_width)
        Weight bits: a row a neuron, in the order in which activations arrive.
    pe : :class:`int`
        Neurons a cycle, 1…matrix_height.
    simd : :class:`int`
        Synapses a cycle and neuron, lanes of ``i``. May exceed matrix_width.
    gate : :class:`Gate`
        What is counted: equal bits (xnor), or bits that are both 1 (and).
    popcount : :class:`bool`
        Whether P, the number of ones in the vector, goes along with every word.
    family : :class:`Family`
        Whose logic the popcounts are made for.
    weight_style : :class:`MemoryStyle`
        Where weights are kept. With a single fold they are constants, and cost nothing.

    Attributes
    ----------
    synapse_fold, neuron_fold : :class:`int`
        Words of a vector; groups of ``pe`` neurons.
    latency : :class:`int`
        Clock cycles from the transfer of a vector's last word to the delivery of the first word
        of counts, if the unit is idle.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(1, simd)))``
        ``synapse_fold`` words a vector.
    o : ``Out(stream.Signature(lane_layout(range(matrix_width + 1), pe, popcount=...)))``
        ``neuron_fold`` words a vector, neuron 0 in lane 0 of the first one.

    Raises
    ------
    :exc:`ValueError`
        If ``pe`` or ``simd`` are out of range.
    """

    def __init__(
        self,
        weights,
        *,
        pe,
        simd,
        gate=Gate.XNOR,
        popcount=False,
        family=Family.ECP5,
        weight_style=MemoryStyle.AUTO,
    ):
        self.weights = np.asarray(weights, dtype=bool)
        height, width = self.weights.shape
        if not 1 <= pe <= height:
            raise ValueError(f"PE must be from 1 to the {height} neurons, not {pe!r}")
        if simd < 1:
            raise ValueError(f"SIMD must be at least 1, not {simd!r}")
        self.pe = pe
        self.simd = simd
        self.gate = gate
        self.popcount = popcount
        self.family = family
        self.weight_style = weight_style
        self.synapse_fold = -(-width // simd)
        self.neuron_fold = -(-height // pe)
        self.latency = mvu_latency(simd, family)
        self._count = range(width + 1)
        super().__init__({
            "i": In(stream.Signature(lane_layout(1, simd))),
            "o": Out(
                stream.Signature(
                    lane_layout(self._count, pe, popcount=self._count if popcount else None)
                )
            ),
        })

    def elaborate(self, platform):
        m = Module()

        # The pipeline moves as one, unless counts wait to be taken.
        en = Signal()
        m.d.comb += en.eq(~self.o.valid | self.o.ready)

        # Cycles 1 to 3: operands.
        m.submodules.operands = operands = Operands(
            1,
            weight_rows(self.weights, pe=self.pe, simd=self.simd),
            self.pe * self.simd,
            width=self.weights.shape[1],
            simd=self.simd,
            neuron_fold=self.neuron_fold,
            style=self.weight_style,
        )
        connect(m, flipped(self.i), operands.i)
        m.d.comb += operands.en.eq(en)
        activation = operands.activation.as_value()

        # Then, for as long as the popcounts take: count each neuron's synapses.
        products = []
        for p in range(self.pe):
            weight = operands.weights.word_select(p, self.simd)
            products.append(
                ~(activation ^ weight) if self.gate is Gate.XNOR else activation & weight
            )
        if self.popcount:
            products.append(activation)
        marks = operands.valid, operands.last
        valid, last = delayed(m, en, marks, popcount_latency(self.simd, self.family))

        # Last cycle: accumulate over the synapse folds, into the output registers.
        targets = [self.o.p.lanes[p] for p in range(self.pe)]
        if self.popcount:
            targets.append(self.o.p.popcount)
        for n, (product, target) in enumerate(zip(products, targets, strict=True)):
            counter = Popcount(self.simd, family=self.family)
            m.submodules[f"popcount_{n}" if n < self.pe else "popcount_shared"] = counter
            m.d.comb += [counter.i.eq(product), counter.en.eq(en)]
            accumulate(
                m,
                counter.o,
                target,
                en=en,
                valid=valid,
                last=last,
                words=self.synapse_fold,
                name=f"sum_{n}",
            )
        with m.If(en):
            m.d.sync += self.o.valid.eq(valid & last)

        return m
