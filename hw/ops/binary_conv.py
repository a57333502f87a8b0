"""Matrix-vector unit: binary weights times a vector of bits, folded in time."""

from dataclasses import dataclass, replace

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.accumulator import accumulate
from xnorflow.hw.arithmetic.constants import MemoryStyle
from xnorflow.hw.arithmetic.layer_adders import layer_luts, layer_registers
from xnorflow.hw.arithmetic.memory import weight_style
from xnorflow.hw.arithmetic.product_count import ProductCount
from xnorflow.hw.arithmetic.registers import delayed
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, chain, registers
from xnorflow.hw.families.ecp5 import ECP5
from xnorflow.hw.ops.folding import is_channelwise
from xnorflow.hw.ops.matrix import MatrixStage, MatrixUnit
from xnorflow.hw.ops.operands import Operands, weight_rows
from xnorflow.hw.ops.unrolled import UnrolledUnit, can_unroll, takes_in, unrolled_sums
from xnorflow.ir import Gate, Threshold


__all__ = ["BinaryConvStage", "MatrixVectorUnit"]


def binary_rows(weights, mask, counting, *, pe):
    """Contents of the weight memory, for a :class:`ProductCount`.

    A weight has a bit, and behind it if there is a mask whether it counts.
    """
    code = weights if mask is None else weights + 2 * mask
    bits, encode = counting.weight_bits, counting.encode
    return weight_rows(code, pe=pe, simd=counting.simd, bits=bits, encode=encode)


class MatrixVectorUnit(MatrixUnit):
    """Count, for every neuron, the synapses where the gate gives 1 (FINN: MVU).

    Activations of several bits are counted plane by plane, in one tree.

    Parameters
    ----------
    weights : array of bool, (matrix_height, matrix_width)
        Weight bits.
    gate : :class:`Gate`
        What is counted: equal bits (xnor), or bits that are both 1 (and).
    popcount : :class:`bool`
        Whether P, the sum of the vector, goes along with every word.
    bits : :class:`int`
        Of an activation.
    mask : array of bool, (matrix_height, matrix_width), optional
        Synapses that count.
    family : :class:`Family`
        Whose logic the popcounts are made for.
    pe, simd, weight_style, groups, channelwise, loaded
        As for every `MatrixUnit`.
    """

    def __init__(
        self,
        weights,
        *,
        pe,
        simd,
        gate=Gate.XNOR,
        popcount=False,
        bits=1,
        mask=None,
        family=ECP5,
        weight_style=MemoryStyle.AUTO,
        groups=1,
        channelwise=False,
        loaded=None,
    ):
        self.gate = gate
        self.popcount = popcount
        self.bits = bits
        self.mask = mask
        weights = np.asarray(weights, dtype=bool)
        count = range(weights.shape[1] * (2**bits - 1) + 1)
        super().__init__(
            weights,
            bits,
            count,
            pe=pe,
            simd=simd,
            weight_style=weight_style,
            popcount=count if popcount else None,
            groups=groups,
            channelwise=channelwise,
            loaded=loaded,
        )
        self.channelwise = channelwise
        self._counting = ProductCount(
            simd,
            family,
            gate,
            bits,
            masked=mask is not None,
            constant=self.neuron_fold * self.synapse_fold * groups == 1,
            neurons=pe + popcount,
        )
        self.latency = Operands.latency + self._counting.latency + 1

    def elaborate(self, platform):
        m = Module()
        counting, width = self._counting, self._counting.weight_bits

        # Cycles 1 to 3: operands.
        rows = binary_rows(self.weights, self.mask, counting, pe=self.pe)
        en, operands, sums = self._fetch(
            m, rows, self.pe * self.simd * width, prepare=counting.prepare
        )
        neurons = {
            f"{p}": (operands.weights.word_select(p, self.simd * width), self.o.p.lanes[p])
            for p in range(self.pe)
        }
        if self.popcount:
            # P is what a neuron counts whose weights are all 1.
            neurons["shared"] = counting.ones, self.o.p.popcount

        # Then, for as long as the counters take: count each neuron's synapses.
        for name, (weights, target) in neurons.items():
            activation = operands.activation.as_value()
            if self.channelwise:
                activation = activation[int(name) :: self.pe]  # a bit of each plane
            count, carry = counting.count(m, name, activation, weights, en)
            if carry is not None:
                carry = delayed(m, en, {f"carry_{name}": carry}, counting.latency)[f"carry_{name}"]

            # Last cycle: accumulate over the synapse folds, into the output register.
            accumulate(m, count, target, carry=carry, name=f"sum_{name}", **sums)
        self._deliver(m, sums)

        return m


@dataclass(frozen=True)
class BinaryConvStage(MatrixStage):
    """Multiply bits with bits.

    Attributes
    ----------
    threshold : Threshold or None
        The node behind it, where that is part of the unit.
    """

    threshold: Threshold | None = None

    @property
    def name(self):
        return self.node.name if self.threshold is None else self.threshold.name

    def taking_in(self, node):
        """The same stage with the node behind it; None if that cannot be part of it."""
        if self.unrolled and not self.node.popcount and takes_in(node):
            return replace(self, threshold=node)
        return None

    @property
    def weight_bits(self):
        return 1 if self.node.mask is None else 2

    @property
    def unrolled(self):
        """Whether weights are constants of shared adders, whose neurons have the same inputs."""
        node = self.node
        if self.rows > 1 or is_channelwise(node):
            return False
        return can_unroll(self.matrix, bits=node.bits, mask=node.mask)

    @property
    def component(self):
        return UnrolledUnit if self.unrolled else MatrixVectorUnit

    def registers(self, device):
        if self.unrolled:
            return self._sums(device).latency
        return Operands.latency + self._counting(device).latency  # the ring takes one

    def _sums(self, device):
        node = self.node
        return unrolled_sums(self.matrix, node.gate, node.popcount, device.family, self.threshold)

    def _counting(self, device):
        node = self.node
        return ProductCount(
            self.folding.simd,
            device.family,
            node.gate,
            node.bits,
            masked=node.mask is not None,
            constant=self.rows == 1,
            neurons=self.folding.pe + self.node.popcount,
        )

    def check_room(self, node):
        """All do."""

    def stored(self, device, node):
        matrix = self.matrix.shape
        mask = None if node.mask is None else node.mask.reshape(matrix)
        weights = node.weights.reshape(matrix)
        return binary_rows(weights, mask, self._counting(device), pe=self.folding.pe)

    def resources(self, device, depth=None):
        if not self.unrolled:
            return super().resources(device, depth)
        sums = self._sums(device)
        luts = layer_luts(sums, device.family)
        return Resources(luts=CONTROL + luts) + registers(device, layer_registers(sums))

    def arithmetic(self, device):
        """Gates, popcounts and accumulators."""
        counting = self._counting(device)
        neurons = self.folding.pe + self.node.popcount  # P is one more popcount
        count = (self.node.taps * (2**self.node.bits - 1)).bit_length()
        luts, shared = counting.luts()
        luts = round(neurons * luts + shared)
        if self.synapse_fold > 1 or counting.carried:
            luts += neurons * chain(device, count + counting.carried)
        # The sum of a vector waits beside the one that is under way.
        return Resources(luts=luts) + registers(device, neurons * count)

    def describe(self, depth):
        kind = {"gate": self.node.gate.value, "popcount": self.node.popcount}
        if self.threshold is not None:
            kind["layer"] = self.node.name
        return super().describe(depth) | kind

    def build(self, device, depth):
        pe, simd = self.folding.pe, self.folding.simd
        if self.unrolled:
            return UnrolledUnit(
                self.matrix,
                gate=self.node.gate,
                popcount=self.node.popcount,
                threshold=self.threshold,
                lanes=simd,
                family=device.family,
            )
        return MatrixVectorUnit(
            self.matrix,
            pe=pe,
            simd=simd,
            gate=self.node.gate,
            popcount=self.node.popcount,
            bits=self.node.bits,
            mask=None if self.node.mask is None else self.node.mask.reshape(self.matrix.shape),
            family=device.family,
            weight_style=weight_style(device, pe * simd * self.weight_bits, self.rows),
            groups=self.groups,
            channelwise=is_channelwise(self.node),
            loaded=self.loading(device),
        )
