"""Layers with weights: how they are folded in time, and what binary and integer ones share."""

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.hw.arithmetic.loaded_memory import Contents, load_signature
from xnorflow.hw.arithmetic.memory import loading
from xnorflow.hw.arithmetic.resources import (
    CONTROL,
    Resources,
    buffer,
    counters,
    registers,
    weights,
)
from xnorflow.hw.ops.folding import (
    Folding,
    check_folding,
    foldings_of,
    is_channelwise,
    is_dense,
    is_pointwise,
)
from xnorflow.hw.ops.operands import Operands, delayed_marks, ring_depth
from xnorflow.hw.ops.parallel_window import ParallelWindowStage
from xnorflow.hw.ops.sliding_window import SlidingWindowStage
from xnorflow.hw.ops.stage import NodeStage, Segment, adapted, queued
from xnorflow.hw.streams.fifo import FifoStage
from xnorflow.hw.streams.skid_buffer import SkidBufferStage
from xnorflow.hw.streams.times import each
from xnorflow.hw.streams.width_converters import WidthConverterStage, WidthDividerStage
from xnorflow.hw.streams.words import lane_layout
from xnorflow.ir import Convolution, FeatureMap


__all__ = ["MatrixStage", "MatrixUnit"]


class MatrixUnit(wiring.Component):
    """Works on ``pe`` neurons and ``simd`` synapses of each in a cycle; see `Operands`.

    A vector takes ``neuron_fold * synapse_fold`` cycles, and the next one follows without a gap.
    Neither ``simd`` nor ``pe`` needs to divide the matrix: spare lanes of a vector's last word are
    masked, spare neurons of the last fold deliver what means nothing.

    Parameters
    ----------
    weights : array of int, (matrix_height, matrix_width)
        A row a neuron, in the order in which activations arrive.
    shape : :class:`ShapeLike`
        One activation.
    result : :class:`ShapeLike`
        One result.
    popcount : :class:`ShapeLike`, optional
        Of P, where it goes along.
    pe : :class:`int`
        Neurons a cycle, 1…matrix_height.
    simd : :class:`int`
        Synapses a cycle and neuron, lanes of ``i``. May exceed matrix_width.
    weight_style : :class:`MemoryStyle`
        Where weights are kept. With a single fold they are constants, and cost nothing.
    groups : :class:`int`
        Vectors that take turns: each of as many equal parts of the neurons is for one of them.
        ``pe`` divides such a part, if there are several.
    channelwise : :class:`bool`
        Whether each neuron has a lane of its own, and a word is a synapse of each; see
        `is_channelwise`.
    loaded : :class:`Loading`, optional
        How weights are written at run time, if they are.

    Attributes
    ----------
    synapse_fold, neuron_fold : :class:`int`
        Words of a vector; how many times ``pe`` neurons work on it.
    latency : :class:`int`
        Clock cycles from the transfer of a vector's last word to the delivery of the first word of
        results, if the unit is idle.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(shape, lanes)))``
        ``synapse_fold`` words a vector, of ``simd`` lanes; where they are channelwise, of ``pe``.
    o : ``Out(stream.Signature(lane_layout(result, pe, popcount=popcount)))``
        ``neuron_fold`` words a vector, neuron 0 in lane 0 of the first one.
    load : ``In(load_signature(loaded))``
        If weights are written at run time.

    Raises
    ------
    :exc:`ValueError`
        If ``pe`` or ``simd`` are out of range.
    """

    def __init__(
        self,
        weights,
        shape,
        result,
        *,
        pe,
        simd,
        weight_style,
        popcount=None,
        groups=1,
        channelwise=False,
        loaded=None,
    ):
        height, width = weights.shape
        height //= groups
        if not 1 <= pe <= height:
            raise ValueError(f"PE must be from 1 to the {height} neurons, not {pe!r}")
        if simd < 1:
            raise ValueError(f"SIMD must be at least 1, not {simd!r}")
        self.weights = weights
        self.shape = Shape.cast(shape)
        self.result = Shape.cast(result)
        self.pe = pe
        self.simd = simd
        self.weight_style = weight_style
        self.loaded = loaded
        self.lanes = pe if channelwise else simd
        self.synapse_fold = -(-width // simd)
        self.neuron_fold = -(-height // pe)
        self.step = Signal()  # work on a word begins; simulations look at it
        super().__init__({
            "i": In(stream.Signature(lane_layout(shape, self.lanes))),
            "o": Out(stream.Signature(lane_layout(result, pe, popcount=popcount))),
            **({"load": In(load_signature(loaded))} if loaded else {}),
        })

    def _fetch(self, m, rows, row_bits, **prepare):
        """Operands of a pipeline that moves as one, unless a result waits where the next is due.

        ``rows``, ``row_bits`` and ``prepare`` are those of `Operands`.

        Returns
        -------
        en : :class:`Signal`
            Clock enable of everything.
        operands : :class:`Operands`
            They come in cycle 3.
        sums : dict
            What `accumulate` must be told in the last cycle.
        """
        en = Signal()
        m.submodules.operands = operands = Operands(
            self.shape,
            rows,
            row_bits,
            width=self.weights.shape[1] * (self.lanes // self.simd),
            simd=self.lanes,
            neuron_fold=self.neuron_fold,
            style=self.weight_style,
            loaded=self.loaded,
            step=self.step,
            **prepare,
        )
        connect(m, flipped(self.i), operands.i)
        if self.loaded:
            connect(m, flipped(self.load), operands.load)
        m.d.comb += operands.en.eq(en)
        waits = self.latency - Operands.latency - 1
        valid, last = delayed_marks(m, en, operands.valid, operands.last, waits)
        if self.synapse_fold == 1:
            m.d.comb += en.eq(~self.o.valid | self.o.ready)
        else:
            # Results come two cycles apart at least. So one may wait in its register until the next
            # comes, and `ready` need not reach the enable in the same cycle.
            waiting = Signal()
            m.d.sync += waiting.eq(self.o.valid & ~self.o.ready)
            m.d.comb += en.eq(~(waiting & valid & last))
        return en, operands, {"en": en, "valid": valid, "last": last, "words": self.synapse_fold}

    def _deliver(self, m, sums):
        """Deliver results in the cycle after a vector's last terms."""
        with m.If(sums["en"] & sums["valid"] & sums["last"]):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)


def _lanes(node: Convolution, folding: Folding) -> int:
    """Values of a word that a layer takes."""
    return folding.pe if is_channelwise(node) else folding.simd


@lru_cache
def _windows(node: Convolution, source: FeatureMap) -> int:
    """Windows of a frame."""
    delivered = node.infer(source)
    return delivered.height * delivered.width


@dataclass(frozen=True)
class MatrixStage(NodeStage):
    """Multiply vectors with weights: windows, or the whole frame for a dense layer."""

    node: Convolution
    source: FeatureMap
    folding: Folding

    facts = ("folding.pe", "folding.simd", "cycles")

    @property
    def lanes(self) -> int:
        return _lanes(self.node, self.folding)

    @cached_property
    def groups(self) -> int:
        """Vectors of a window."""
        return self.node.groups // (self.folding.pe if is_channelwise(self.node) else 1)

    @property
    def vectors(self) -> int:
        """Vectors of a frame: those of all groups."""
        return _windows(self.node, self.source) * self.groups

    @cached_property
    def synapse_fold(self) -> int:
        """Words of a vector."""
        return -(-self.node.taps // self.folding.simd)

    @cached_property
    def neuron_fold(self) -> int:
        """How many times neurons take turns at a vector."""
        return -(-self.node.filters // self.groups // self.folding.pe)

    @property
    def matrix(self):
        """Weights as a matrix, (filters, taps), in the order in which activations come."""
        return self.node.weights.reshape(self.node.filters, self.node.taps)

    @property
    def rows(self) -> int:
        """Rows of the weight memory, clock cycles a window."""
        return self.synapse_fold * self.neuron_fold * self.groups

    @property
    def cycles(self) -> int:
        """Clock cycles a frame."""
        return self.vectors * self.synapse_fold * self.neuron_fold

    @property
    def busy(self):
        windows = self._whole_windows
        return self.cycles if windows is None else max(self.cycles, windows.busy)

    @property
    def _whole_windows(self):
        """What delivers whole windows, if more than a pixel of a window is taken in a cycle."""
        node, simd = self.node, self.folding.simd
        if simd <= self.source.channels or node.groups > 1 or is_dense(node, self.source):
            return None
        word = self.synapse_fold * simd
        pace = self.synapse_fold * self.neuron_fold
        return ParallelWindowStage(node, self.source, word, pace)

    @property
    @abstractmethod
    def weight_bits(self) -> int:
        """Bits of a weight, as it is stored."""

    @abstractmethod
    def check_room(self, node) -> None:
        """Check that such weights fit; see `Stage.loaded`."""

    @abstractmethod
    def stored(self, device, node) -> list[int]:
        """Rows of the weight memory, of this node or another one like it."""

    def loaded(self, device, node):
        self.check_room(node)
        return Contents(self.row_bits, self.stored(device, node), self.loading(device))

    @property
    def row_bits(self) -> int:
        """Bits of a row of the weight memory."""
        return self.folding.pe * self.folding.simd * self.weight_bits

    def loading(self, device):
        """How the weight memory is loaded, if it is."""
        return loading(device, self.row_bits, self.rows)

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        (source,), (lanes,) = sources, fed
        check_folding(node, folding, source, lanes)
        stage, dense = cls(node, source, folding), is_dense(node, source)
        if (windows := stage._whole_windows) is not None:
            ahead = *queued(node.name, source, lanes, source.channels), windows
            if (words := stage.synapse_fold) > 1:
                name = f"{node.name}_part"
                ahead += (WidthDividerStage(name, source, folding.simd, words, words),)
            return Segment((ahead,), stage, folding.pe)
        ahead = [SkidBufferStage(f"{node.name}_cut", source, lanes)]
        if node.groups > 1:
            ahead.extend(adapted(node.name, source, lanes, _lanes(node, folding)))
        elif folding.simd > lanes:
            words = -(-(source.size if dense else source.channels) // lanes)
            ratio = folding.simd // lanes
            ahead.append(WidthConverterStage(f"{node.name}_width", source, lanes, ratio, words))
        if is_pointwise(node):
            ahead.append(FifoStage(f"{node.name}_queue", source, folding.simd))
        elif not dense:
            ahead.append(SlidingWindowStage(node, source, stage.lanes, stage.neuron_fold))
        return Segment((tuple(ahead),), stage, folding.pe)

    @classmethod
    def foldings(cls, node, source, lanes):
        return foldings_of(node, source, lanes)

    def passage(self, arrivals, device):
        (times,) = arrivals
        # A word can be worked on one cycle after it came; a cycle works on one word.
        count = np.arange(len(times))
        work = count + count // self.synapse_fold * self.synapse_fold * (self.neuron_fold - 1)
        worked = work + np.maximum.accumulate(times + 1 - work)
        last = worked[self.synapse_fold - 1 :: self.synapse_fold]
        turns = np.arange(self.neuron_fold) * self.synapse_fold
        return arrivals, each(last, turns) + self.registers(device)

    def resources(self, device, depth=None):
        pe, simd = self.folding.pe, self.folding.simd
        total = self.arithmetic(device) + Resources(luts=CONTROL)
        total += weights(device, pe * simd * self.weight_bits, self.rows)
        total += counters(self.synapse_fold, self.neuron_fold)
        # The ring of activations, with five numbers that say where it is written and read.
        ring = ring_depth(self.synapse_fold, self.neuron_fold)
        total += counters(*[ring] * 5) + registers(device, self.width)
        if ring == 2:
            return total + Resources(luts=self.width) + registers(device, 2 * self.width)
        return total + buffer(device, self.width, ring)

    @abstractmethod
    def arithmetic(self, device) -> Resources:
        """Estimated resources of what computes."""

    @property
    def frames_kept(self):
        return Fraction(3, self.vectors)

    def describe(self, depth):
        sizes = {"neurons": self.node.filters, "synapses": self.node.taps}
        if self.node.groups > 1:
            sizes["groups"] = self.node.groups
        return sizes | super().describe(depth)
