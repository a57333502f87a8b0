"""Matrix-vector unit: binary weights times a vector of bits, folded in time."""

import numpy as np
from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.constants import ConstantTable, MemoryStyle
from xnorflow.hw.device import Family
from xnorflow.hw.popcount import Popcount, popcount_latency
from xnorflow.hw.stream import lane_layout
from xnorflow.network import Gate


__all__ = ["MatrixVectorUnit", "mvu_latency", "weight_rows"]


def mvu_latency(simd, family):
    """Clock cycles from a vector's last word to the first counts: ring, memory, popcount, sum."""
    return 2 + ConstantTable.latency + popcount_latency(simd, family)


def weight_rows(weights, *, pe, simd):
    """Contents of the weight memory: a row a cycle, neuron folds outside, synapse folds inside.

    Bit ``p * simd + s`` of a row is synapse s of neuron p. Spare synapses hold 1, which with their
    masked activation makes both gates give 0.

    Parameters
    ----------
    weights : array of bool, (matrix_height, matrix_width)
        A row a neuron.
    pe : :class:`int`
        Neurons a cycle.
    simd : :class:`int`
        Synapses a cycle and neuron.

    Returns
    -------
    list of :class:`int`
    """
    height, width = weights.shape
    neuron_fold, synapse_fold = -(-height // pe), -(-width // simd)
    padded = np.ones((neuron_fold * pe, synapse_fold * simd), dtype=bool)
    padded[:height, :width] = weights
    folds = padded.reshape(neuron_fold, pe, synapse_fold, simd)
    folds = folds.transpose(0, 2, 1, 3).reshape(-1, pe * simd)
    return [
        int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little") for row in folds
    ]


class MatrixVectorUnit(wiring.Component):
    """Count, for every neuron, the synapses where the gate gives 1 (FINN: MVU).

    Works on ``pe`` neurons and ``simd`` synapses of each in a cycle, so that a vector takes
    ``neuron_fold * synapse_fold`` cycles, and the next one follows without a gap. The vector is
    kept in a ring of two vectors: while one is worked on, the next comes in. Work starts with the
    first word, and its words are released during the last neuron fold. With a single neuron fold
    nothing is read twice, and the ring has just two words.

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
        sf, nf = self.synapse_fold, self.neuron_fold

        # The pipeline moves as one, unless counts wait to be taken.
        en = Signal()
        m.d.comb += en.eq(~self.o.valid | self.o.ready)

        # Control: which step is next, and whether its activations are there.
        step = Signal()
        synapse = Signal(range(sf))
        neuron = Signal(range(nf))
        first_synapse, last_synapse = Signal(), Signal()
        first_neuron, last_neuron = Signal(), Signal()
        m.d.comb += [
            first_synapse.eq(synapse == 0),
            last_synapse.eq(synapse == sf - 1),
            first_neuron.eq(neuron == 0),
            last_neuron.eq(neuron == nf - 1),
        ]
        with m.If(step):
            m.d.sync += synapse.eq(Mux(last_synapse, 0, synapse + 1))
            with m.If(last_synapse):
                m.d.sync += neuron.eq(Mux(last_neuron, 0, neuron + 1))

        read, unread = self._ring(m, en, step, last_synapse, first_neuron, last_neuron)
        m.d.comb += step.eq(en & (~first_neuron | unread))

        # Cycles 1 and 2: activations and weights come out of their memories, and are registered.
        rows = weight_rows(self.weights, pe=self.pe, simd=self.simd)
        weights = ConstantTable(self.pe * self.simd, rows, style=self.weight_style)
        m.submodules.weights = weights
        m.d.comb += [weights.en.eq(en), weights.step.eq(step)]

        activation = Signal(self.simd, reset_less=True)
        spare = sf * self.simd - self.weights.shape[1]
        if spare:
            tail = Signal(reset_less=True)
            keep = Const((1 << self.simd - spare) - 1, self.simd)
            read &= keep | ~tail.replicate(self.simd)
            with m.If(en):
                m.d.sync += tail.eq(last_synapse)
        with m.If(en):
            m.d.sync += activation.eq(read)

        # Then, for as long as the popcounts take: count each neuron's synapses.
        products = []
        for p in range(self.pe):
            weight = weights.row.word_select(p, self.simd)
            products.append(
                ~(activation ^ weight) if self.gate is Gate.XNOR else activation & weight
            )
        if self.popcount:
            products.append(activation)
        valid, first, last = step, first_synapse, last_synapse
        for stage in range(self.latency - 2):
            registers = [
                Signal(name=f"valid_{stage}"),
                Signal(name=f"first_{stage}", reset_less=True),
                Signal(name=f"last_{stage}", reset_less=True),
            ]
            with m.If(en):
                m.d.sync += [r.eq(s) for r, s in zip(registers, (valid, first, last), strict=True)]
            valid, first, last = registers

        # Last cycle: accumulate over the synapse folds. The accumulators are the output registers.
        targets = [self.o.p.lanes[p] for p in range(self.pe)]
        if self.popcount:
            targets.append(self.o.p.popcount)
        for n, (product, target) in enumerate(zip(products, targets, strict=True)):
            counter = Popcount(self.simd, family=self.family)
            m.submodules[f"popcount_{n}" if n < self.pe else "popcount_shared"] = counter
            m.d.comb += [counter.i.eq(product), counter.en.eq(en)]
            accumulator = Signal(self._count, name=f"accumulator_{n}", reset_less=True)
            m.d.comb += target.eq(accumulator)
            with m.If(en & valid):
                m.d.sync += accumulator.eq(Mux(first, 0, accumulator) + counter.o)
        with m.If(en):
            m.d.sync += self.o.valid.eq(valid & last)

        return m

    def _ring(self, m, en, step, last_synapse, first_neuron, last_neuron):
        """Ring of activations: the word of the last step, and whether an unread one waits."""
        sf, nf = self.synapse_fold, self.neuron_fold
        # With a single neuron fold nothing is read twice, and two words are enough to stream.
        depth = 2 if nf == 1 else 2 * sf
        # A ring of two words has no use for a block RAM.
        style = MemoryStyle.LOGIC if depth == 2 else MemoryStyle.AUTO
        m.submodules.ring = ring = memory.Memory(
            shape=self.simd, depth=depth, init=[], attrs=style.attributes()
        )
        write, read = ring.write_port(), ring.read_port()

        put = Signal(range(depth))
        get = Signal(range(depth))
        rewind = Signal(range(depth))  # where the vector that is worked on starts
        m.d.comb += [
            write.addr.eq(put),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid & self.i.ready),
            read.addr.eq(get),
            read.en.eq(en),
        ]
        with m.If(write.en):
            m.d.sync += put.eq(Mux(put == depth - 1, 0, put + 1))
        with m.If(step):
            m.d.sync += get.eq(Mux(get == depth - 1, 0, get + 1))
            if nf > 1:
                with m.If(last_synapse & last_neuron):
                    m.d.sync += rewind.eq(Mux(rewind == 0, sf, 0))
                with m.Elif(last_synapse):
                    m.d.sync += get.eq(rewind)

        # Words that no step has read yet, and places that the last neuron fold has given back.
        unread = Signal(range(depth + 1))
        space = Signal(range(depth + 1), init=depth)
        m.d.comb += self.i.ready.eq(space != 0)
        m.d.sync += [
            unread.eq(unread + write.en - (step & first_neuron)),
            space.eq(space - write.en + (step & last_neuron)),
        ]
        return read.data, unread != 0
