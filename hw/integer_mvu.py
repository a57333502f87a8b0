"""Integer matrix-vector unit: for first layers on pixels, and last layers on bits."""

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from xnorflow.hw.constants import MemoryStyle
from xnorflow.hw.operands import Operands, delayed, weight_rows
from xnorflow.hw.stream import lane_layout


__all__ = ["IntegerMatrixVectorUnit", "integer_mvu_latency", "weight_coding"]


def integer_mvu_latency(simd):
    """Clock cycles from a vector's last word to the first sums: operands, products, tree, sum."""
    return Operands.latency + 1 + ceil_log2(simd) + 1


def weight_coding(weights):
    """How weights are stored: (bits of one, stored values, value of a spare one).

    Weights that are all ±1 take a single bit, 1 for +1.
    """
    weights = np.asarray(weights, np.int64)
    if np.isin(weights, (-1, 1)).all():
        return 1, (weights > 0).astype(np.int64), 0
    low, high = int(weights.min()), int(weights.max())
    return Shape.cast(range(min(low, -1), high + 1)).width, weights, 0


class IntegerMatrixVectorUnit(wiring.Component):
    """Weighted sums of a vector, for every neuron (FINN: MVU with integer operands).

    Timing, folding and tails are those of :class:`~xnorflow.hw.mvu.MatrixVectorUnit`. Products of
    two wide operands become multipliers (DSPs, where the device has them); activations that are
    bits, and weights that are all ±1, are only added or subtracted.

    Parameters
    ----------
    weights : array of int, (matrix_height, matrix_width)
        A row a neuron, in the order in which activations arrive.
    shape : :class:`ShapeLike`
        One activation.
    result : :class:`ShapeLike`
        One sum; it must hold every partial sum, too.
    pe : :class:`int`
        Neurons a cycle, 1…matrix_height.
    simd : :class:`int`
        Synapses a cycle and neuron, lanes of ``i``.
    weight_style : :class:`MemoryStyle`
        Where weights are kept.

    Attributes
    ----------
    synapse_fold, neuron_fold : :class:`int`
        Words of a vector; groups of ``pe`` neurons.
    latency : :class:`int`
        Clock cycles from the transfer of a vector's last word to the delivery of the first word
        of sums, if the unit is idle.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(shape, simd)))``
        ``synapse_fold`` words a vector.
    o : ``Out(stream.Signature(lane_layout(result, pe)))``
        ``neuron_fold`` words a vector, neuron 0 in lane 0 of the first one.

    Raises
    ------
    :exc:`ValueError`
        If ``pe`` or ``simd`` are out of range.
    """

    def __init__(self, weights, shape, result, *, pe, simd, weight_style=MemoryStyle.AUTO):
        self.weights = np.asarray(weights, np.int64)
        height, width = self.weights.shape
        if not 1 <= pe <= height:
            raise ValueError(f"PE must be from 1 to the {height} neurons, not {pe!r}")
        if simd < 1:
            raise ValueError(f"SIMD must be at least 1, not {simd!r}")
        self.shape = Shape.cast(shape)
        self.result = Shape.cast(result)
        self.pe = pe
        self.simd = simd
        self.weight_style = weight_style
        self.synapse_fold = -(-width // simd)
        self.neuron_fold = -(-height // pe)
        self.latency = integer_mvu_latency(simd)
        super().__init__({
            "i": In(stream.Signature(lane_layout(self.shape, simd))),
            "o": Out(stream.Signature(lane_layout(self.result, pe))),
        })

    def elaborate(self, platform):
        m = Module()

        # The pipeline moves as one, unless sums wait to be taken.
        en = Signal()
        m.d.comb += en.eq(~self.o.valid | self.o.ready)

        # Cycles 1 to 3: operands.
        bits, stored, spare = weight_coding(self.weights)
        m.submodules.operands = operands = Operands(
            self.shape,
            weight_rows(stored, pe=self.pe, simd=self.simd, bits=bits, spare=spare),
            self.pe * self.simd * bits,
            width=self.weights.shape[1],
            simd=self.simd,
            neuron_fold=self.neuron_fold,
            style=self.weight_style,
        )
        connect(m, flipped(self.i), operands.i)
        m.d.comb += operands.en.eq(en)

        def product(p, s):
            value = operands.activation[s]
            weight = operands.weights.word_select(p * self.simd + s, bits)
            if bits == 1:
                return Mux(weight, value, -value)
            if self.shape == unsigned(1):
                return Mux(value, weight.as_signed(), 0)
            return value * weight.as_signed()

        marks = operands.valid, operands.first, operands.last
        valid, first, last = delayed(m, en, marks, self.latency - Operands.latency - 1)

        for p in range(self.pe):
            # Cycle 4: the products. Then a tree that adds them in pairs, a level a cycle.
            terms = [product(p, s) for s in range(self.simd)]
            for level in range(1 + ceil_log2(self.simd)):
                registers = [
                    Signal(term.shape(), name=f"term_{p}_{level}_{n}", reset_less=True)
                    for n, term in enumerate(terms)
                ]
                with m.If(en):
                    m.d.sync += [r.eq(t) for r, t in zip(registers, terms, strict=True)]
                terms = [sum(registers[n : n + 2]) for n in range(0, len(registers), 2)]

            # Last cycle: accumulate over the synapse folds, in the output register.
            accumulator = Signal(self.result, name=f"accumulator_{p}", reset_less=True)
            m.d.comb += self.o.p.lanes[p].eq(accumulator)
            with m.If(en & valid):
                m.d.sync += accumulator.eq(Mux(first, 0, accumulator) + registers[0])
        with m.If(en):
            m.d.sync += self.o.valid.eq(valid & last)

        return m
