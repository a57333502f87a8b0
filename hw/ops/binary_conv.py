"""Matrix-vector unit: binary weights times a vector of bits, folded in time."""

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.accumulator import accumulate
from xnorflow.hw.arithmetic.constants import MemoryStyle
from xnorflow.hw.arithmetic.memory import memory_style
from xnorflow.hw.arithmetic.popcount import Popcount, counts_triples, popcount_latency
from xnorflow.hw.arithmetic.registers import delayed
from xnorflow.hw.arithmetic.resources import Resources, chain, registers
from xnorflow.hw.arithmetic.xnor import count_triples, encode_weights, share_parities
from xnorflow.hw.families.ecp5 import ECP5
from xnorflow.hw.ops.matrix import MatrixStage, MatrixUnit
from xnorflow.hw.ops.operands import Operands, weight_rows
from xnorflow.ir import Gate


__all__ = ["BinaryConvStage", "MatrixVectorUnit"]

_LUTS_PER_CONSTANT_SYNAPSE = 1.7


def _latency(simd, family, bits):
    """Clock cycles from a vector's last word to the first counts: ring, memory, popcount, sum."""
    return Operands.latency + popcount_latency(_counted_lanes(simd, bits), family, bits) + 1


def _counted_lanes(simd, bits):
    """Lanes that a neuron's popcount counts.

    Numbers up to a power of two take one bit more than those below it. So the last lane of as many
    waits, and becomes the carry of the accumulator, if activations have one of the ``bits``.
    """
    return simd - 1 if bits == 1 and simd > 1 and simd & simd - 1 == 0 else simd


def _shares_parities(simd, bits, gate, family):
    """Whether neurons share the parities of lanes: see `xnorflow.hw.arithmetic.xnor`."""
    return gate is Gate.XNOR and counts_triples(_counted_lanes(simd, bits), family)


def _planes(word, bits):
    """Planes of a word of values of so many ``bits``, the lowest first."""
    return [word[n::bits] for n in range(bits)]


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
    pe, simd, weight_style, groups
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
    ):
        self.gate = gate
        self.popcount = popcount
        self.bits = bits
        self.mask = mask
        self.family = family
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
        )
        self.latency = _latency(simd, family, bits)

    def elaborate(self, platform):
        m = Module()

        # Cycles 1 to 3: operands.
        masked = self.mask is not None
        shares = not masked and _shares_parities(self.simd, self.bits, self.gate, self.family)
        encode = encode_weights if shares else None
        # A weight bit, and behind it where there is a mask whether it counts.
        code, width = (self.weights + 2 * self.mask, 2) if masked else (self.weights, 1)
        rows = weight_rows(code, pe=self.pe, simd=self.simd, bits=width, encode=encode)

        def prepare(word):
            planes = _planes(word, self.bits)
            return Cat(map(share_parities, planes) if shares else planes)

        en, operands, sums = self._fetch(m, rows, self.pe * self.simd * width, prepare=prepare)
        activation = operands.activation.as_value()
        plane = len(activation) // self.bits
        planes = [activation.word_select(n, plane) for n in range(self.bits)]

        # Then, for as long as the popcounts take: count each neuron's synapses.
        counted = _counted_lanes(self.simd, self.bits)
        latency = popcount_latency(counted, self.family, self.bits)
        neurons = {
            f"{p}": (operands.weights.word_select(p, self.simd * width), self.o.p.lanes[p])
            for p in range(self.pe)
        }
        if self.popcount:
            # P is what a neuron counts whose weights are all 1.
            ones = np.ones(self.simd, np.uint8)
            code = encode_weights(ones) if shares else ones
            neurons["shared"] = Cat(Const(int(bit), 1) for bit in code), self.o.p.popcount
        for name, (weights, target) in neurons.items():
            m.submodules[f"popcount_{name}"] = counter = Popcount(
                counted, family=self.family, counted=shares, planes=self.bits
            )
            # The last lane, if it is not counted, is the last of the prepared ones, too.
            end = -1 if counted < self.simd else None
            gate = count_triples if shares else self._gate_lanes
            lanes = [gate(word[:end], weights[: counted * width]) for word in planes]
            m.d.comb += [counter.i.eq(Cat(lanes)), counter.en.eq(en)]
            carry = None
            if counted < self.simd:
                carry = self._gate_lanes(activation[-1:], weights[-width:])
                carry = delayed(m, en, {f"carry_{name}": carry}, latency)[f"carry_{name}"]

            # Last cycle: accumulate over the synapse folds, into the output register.
            accumulate(m, counter.o, target, carry=carry, name=f"sum_{name}", **sums)
        self._deliver(m, sums)

        return m

    def _gate_lanes(self, activations, weights):
        """The gates of some lanes, a bit each."""
        if self.mask is not None:
            return (activations & weights[1::2]) ^ (weights[1::2] & ~weights[::2])
        return activations & weights if self.gate is Gate.AND else ~(activations ^ weights)


class BinaryConvStage(MatrixStage):
    """Multiply bits with bits."""

    component = MatrixVectorUnit

    @property
    def weight_bits(self):
        return 1 if self.node.mask is None else 2

    def registers(self, device):
        return _latency(self.folding.simd, device.family, self.node.bits) - 1  # the ring takes one

    def arithmetic(self, device):
        """Gates, popcounts and accumulators."""
        simd = self.folding.simd
        neurons = self.folding.pe + self.node.popcount  # P is one more popcount
        planes = self.node.bits
        count = (self.node.taps * (2**planes - 1)).bit_length()
        counted = _counted_lanes(simd, planes)
        shared = 0
        masked = self.node.mask is not None
        if self.rows == 1:
            popcount = _LUTS_PER_CONSTANT_SYNAPSE * counted
        elif not counts_triples(counted, device.family):
            popcount = (device.family.luts_per_added_synapse + masked) * counted
        elif masked:
            # A look-up table for each gate, and two for each adder.
            popcount = counted + 2 * (counted - counted.bit_length())
        else:
            # Each adder takes three bits to two. The first ones share parities.
            triples, adders = counted // 3, counted - counted.bit_length()
            popcount = 3 * triples + 2 * (adders - triples) + counted % 3
            shared = simd
        # Planes meet in one tree, which ends in a few more adders.
        luts = round(neurons * (planes * popcount + 2 * (planes - 1))) + planes * shared
        if self.synapse_fold > 1 or counted < simd:
            luts += neurons * chain(device, count + (counted < simd))
        # The sum of a vector waits beside the one that is under way.
        return Resources(luts=luts) + registers(device, neurons * count)

    def describe(self, depth):
        kind = {"gate": self.node.gate.value, "popcount": self.node.popcount}
        return super().describe(depth) | kind

    def build(self, device, depth):
        pe, simd = self.folding.pe, self.folding.simd
        return MatrixVectorUnit(
            self.matrix,
            pe=pe,
            simd=simd,
            gate=self.node.gate,
            popcount=self.node.popcount,
            bits=self.node.bits,
            mask=None if self.node.mask is None else self.node.mask.reshape(self.matrix.shape),
            family=device.family,
            weight_style=memory_style(device, pe * simd, self.rows),
            groups=self.node.groups,
        )
