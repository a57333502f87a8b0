"""Operands of a matrix-vector unit in a cycle: a word of a vector, and its weights."""

import numpy as np
from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.hw.arithmetic.constants import ConstantTable, MemoryStyle
from xnorflow.hw.arithmetic.counters import counter, level
from xnorflow.hw.arithmetic.loaded_memory import load_signature
from xnorflow.hw.arithmetic.registers import delayed
from xnorflow.hw.streams.words import lane_layout


__all__ = ["Operands", "delayed_marks", "ring_depth", "weight_rows"]


def weight_rows(weights, *, pe, simd, bits=1, spare=1, encode=None):
    """Contents of the weight memory: a row a cycle, neuron folds outside, synapse folds inside.

    Field ``p * simd + s`` of a row is synapse s of neuron p.

    Parameters
    ----------
    weights : array of bool or int, (matrix_height, matrix_width)
        A row a neuron.
    pe : :class:`int`
        Neurons a cycle.
    simd : :class:`int`
        Synapses a cycle and neuron.
    bits : :class:`int`
        Width of a weight, two's complement.
    spare : :class:`int`
        Weight of spare synapses. Their activations are masked: with 1, both gates give 0.
    encode : callable, optional
        From the weights (…, simd) of words to what is stored for them, of the same shape.

    Returns
    -------
    list of :class:`int`
    """
    height, width = weights.shape
    neuron_fold, synapse_fold = -(-height // pe), -(-width // simd)
    padded = np.full((neuron_fold * pe, synapse_fold * simd), spare, np.int64)
    padded[:height, :width] = weights
    folds = padded.reshape(neuron_fold, pe, synapse_fold, simd)
    if encode is not None:
        folds = encode(folds)
    folds = folds.transpose(0, 2, 1, 3).reshape(-1, pe * simd)
    fields = (folds[:, :, np.newaxis] >> np.arange(bits) & 1).astype(np.uint8)
    packed = np.packbits(fields.reshape(len(folds), -1), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def ring_depth(synapse_fold, neuron_fold):
    """Words of the ring of activations.

    With a single neuron fold nothing is read twice, and two words are enough to stream.
    """
    return 2 if neuron_fold == 1 else 2 * synapse_fold


def delayed_marks(m, en, valid, last, cycles):
    """Marks as they were ``cycles`` enabled cycles ago."""
    marks = {"valid": valid, "last": last}
    return delayed(m, en, marks, cycles, resets=("valid",)).values()


class Operands(wiring.Component):
    """Deliver the operands of every cycle, vector by vector without a gap.

    A vector is worked on for ``neuron_fold * synapse_fold`` cycles. It is kept in a ring of two
    vectors: while one is worked on, the next comes in. Work starts with the first word, and its
    words are released during the last neuron fold. With a single neuron fold nothing is read
    twice, and the ring has just two words.

    The spare lanes of a vector's last word are 0, whatever came in.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One activation.
    rows : list of :class:`int`
        The weight memory, as `weight_rows` gives it.
    row_bits : :class:`int`
        Width of a row.
    width : :class:`int`
        Values of a vector.
    simd : :class:`int`
        Synapses a cycle, lanes of ``i``.
    neuron_fold : :class:`int`
        How often a vector is worked through.
    style : :class:`MemoryStyle`
        Where weights are kept. With a single row they are constants, and cost nothing.
    prepare : callable, optional
        From a word of activations, as a plain :class:`Value`, to what is delivered instead: a word
        of values of the same shape.
    loaded : :class:`Loading`, optional
        How the weight memory is written at run time, if it is.
    step : :class:`Signal`, optional
        Where to show in which cycles there is work.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a vector's last word to its operands, if the unit is idle.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(shape, simd)))``
        ``ceil(width / simd)`` words a vector.
    en : ``In(1)``
        Clock enable of everything behind the ring.
    activation : ``Out(ArrayLayout(shape, ...))``
    weights : ``Out(row_bits)``
    valid, last : ``Out(1)``
        Whether there are operands, and whether they are the last of a neuron.
    load : ``In(load_signature(loaded))``
        If the weight memory is written at run time.
    """

    latency = 1 + ConstantTable.latency

    def __init__(
        self,
        shape,
        rows,
        row_bits,
        *,
        width,
        simd,
        neuron_fold,
        style=MemoryStyle.AUTO,
        prepare=lambda word: word,
        loaded=None,
        step=None,
    ):
        self.width = width
        self.simd = simd
        self.neuron_fold = neuron_fold
        self.synapse_fold = -(-width // simd)
        self._rows = rows
        self._style = style
        self._prepare = prepare
        self._loaded = loaded
        self._step = Signal(name="step") if step is None else step
        bits = Shape.cast(shape).width
        delivered = len(prepare(Const(0, simd * bits))) // bits
        super().__init__({
            "i": In(stream.Signature(lane_layout(shape, simd))),
            "en": In(1),
            "activation": Out(data.ArrayLayout(shape, delivered)),
            "weights": Out(row_bits),
            "valid": Out(1),
            "last": Out(1),
            **({"load": In(load_signature(loaded))} if loaded else {}),
        })

    def elaborate(self, platform):
        m = Module()
        sf, nf, en = self.synapse_fold, self.neuron_fold, self.en

        # Control: which step is next, and whether its activations are there.
        step = self._step
        _, last_synapse = counter(m, "synapse", sf, step)
        _, last_neuron = counter(m, "neuron", nf, step & last_synapse)
        first_neuron = Signal(init=1)
        with m.If(step & last_synapse):
            m.d.sync += first_neuron.eq(last_neuron)

        read, unread = self._ring(m, en, step, last_synapse, first_neuron, last_neuron)
        m.d.comb += step.eq(en & (~first_neuron | unread))

        # Cycles 1 and 2: activations and weights come out of their memories, and are registered.
        m.submodules.constants = weights = ConstantTable(
            len(self.weights), self._rows, style=self._style, loaded=self._loaded
        )
        if self._loaded:
            connect(m, flipped(self.load), weights.load)
        m.d.comb += [weights.en.eq(en), weights.step.eq(step), self.weights.eq(weights.row)]

        activation = Signal(self.activation.shape(), reset_less=True)
        m.d.comb += self.activation.eq(activation)
        used = self.width - (sf - 1) * self.simd
        if used < self.simd:
            tail = Signal(reset_less=True)
            keep = Const((1 << used * (len(read) // self.simd)) - 1, len(read))
            read &= keep | ~tail.replicate(len(read))
            with m.If(en):
                m.d.sync += tail.eq(last_synapse)
        marks = delayed_marks(m, en, step, last_synapse, ConstantTable.latency)
        with m.If(en):
            m.d.sync += activation.as_value().eq(self._prepare(read))
        outputs = self.valid, self.last
        m.d.comb += [o.eq(s) for o, s in zip(outputs, marks, strict=True)]

        return m

    def _ring(self, m, en, step, last_synapse, first_neuron, last_neuron):
        """Ring of activations: the word of the last step, and whether an unread one waits."""
        sf, nf = self.synapse_fold, self.neuron_fold
        depth = ring_depth(sf, nf)
        # A ring of two words has no use for a block RAM.
        style = MemoryStyle.LOGIC if depth == 2 else MemoryStyle.AUTO
        m.submodules.ring = ring = memory.Memory(
            shape=len(Value.cast(self.i.payload)), depth=depth, init=[], attrs=style.attributes()
        )
        write, read = ring.write_port(), ring.read_port()

        put, _ = counter(m, "put", depth, write.en)
        get = Signal(range(depth))
        rewind = Signal(range(depth))  # where the vector that is worked on starts
        m.d.comb += [
            write.addr.eq(put),
            write.data.eq(Value.cast(self.i.payload)),
            write.en.eq(self.i.valid & self.i.ready),
            read.addr.eq(get),
            read.en.eq(en),
        ]
        with m.If(step):
            m.d.sync += get.eq(Mux(get == depth - 1, 0, get + 1))
            if nf > 1:
                with m.If(last_synapse & last_neuron):
                    m.d.sync += rewind.eq(Mux(rewind == 0, sf, 0))
                with m.Elif(last_synapse):
                    m.d.sync += get.eq(rewind)

        # Words that no step has read yet, and all that the last neuron fold has not given back.
        _, unread, _ = level(m, "unread", depth, up=write.en, down=step & first_neuron)
        _, _, room = level(m, "kept", depth, up=write.en, down=step & last_neuron)
        m.d.comb += self.i.ready.eq(room)
        return read.data, unread
