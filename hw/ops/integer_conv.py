"""Integer matrix-vector unit: for first layers on pixels, and last layers on bits."""

from functools import lru_cache

import numpy as np
from amaranth import *
from amaranth.utils import ceil_log2

from xnorflow.errors import DesignError
from xnorflow.hw.arithmetic.accumulator import accumulate, add_with_carry
from xnorflow.hw.arithmetic.constants import MemoryStyle
from xnorflow.hw.arithmetic.memory import weight_style
from xnorflow.hw.arithmetic.registers import registered, registered_all
from xnorflow.hw.arithmetic.resources import Resources, chain, products
from xnorflow.hw.ops.matrix import MatrixStage, MatrixUnit
from xnorflow.hw.ops.operands import Operands, weight_rows
from xnorflow.hw.streams.words import value_bits, value_shape
from xnorflow.ir import Bit


__all__ = ["IntegerConvStage", "IntegerMatrixVectorUnit", "weight_coding"]


def _latency(simd):
    """Clock cycles from a vector's last word to the first sums: operands, products, tree, sum."""
    return Operands.latency + 1 + ceil_log2(simd) + 1


def weight_coding(weights):
    """Code in which weights are stored: (bits of one, stored values, value of a spare one).

    Weights that are all ±1 take a single bit, 1 for +1.
    """
    weights = np.asarray(weights, np.int64)
    if np.isin(weights, (-1, 1)).all():
        return 1, (weights > 0).astype(np.int64), 0
    low, high = int(weights.min()), int(weights.max())
    # At least two bits: a single one is for ±1.
    return Shape.cast(range(min(low, -1), max(high, 1) + 1)).width, weights, 0


def integer_rows(weights, bits, *, pe, simd):
    """Contents of the weight memory, in so many ``bits`` each; a single one is for ±1."""
    stored = weights > 0 if bits == 1 else weights
    return weight_rows(stored, pe=pe, simd=simd, bits=bits, spare=0)


class IntegerMatrixVectorUnit(MatrixUnit):
    """Weighted sums of a vector, for every neuron (FINN: MVU with integer operands).

    Products of two wide operands become multipliers (DSPs, where the device has them); activations
    that are bits, and weights that are all ±1, are only added or subtracted. The shape of a result
    must hold every partial sum, too.
    """

    def __init__(
        self,
        weights,
        shape,
        result,
        *,
        pe,
        simd,
        weight_style=MemoryStyle.AUTO,
        groups=1,
        loaded=None,
    ):
        weights, options = np.asarray(weights, np.int64), {"pe": pe, "simd": simd, "groups": groups}
        options |= {"weight_style": weight_style, "loaded": loaded}
        super().__init__(weights, shape, result, **options)
        self.latency = _latency(simd)

    def elaborate(self, platform):
        m = Module()

        # Cycles 1 to 3: operands.
        bits, _, _ = weight_coding(self.weights)
        rows = integer_rows(self.weights, bits, pe=self.pe, simd=self.simd)
        en, operands, sums = self._fetch(m, rows, self.pe * self.simd * bits)

        # Cycle 4: the products; ±1 take one more cycle, and have half as many terms.
        neurons = self._signed_pairs(m, en, operands) if bits == 1 else self._products(operands)
        for p, terms in enumerate(neurons):
            # Then a tree that adds them in pairs, a level a cycle.
            terms = _registered_terms(m, en, terms, f"{p}_0")
            for level in range(1, 1 + ceil_log2(len(terms))):
                pairs = [terms[n : n + 2] for n in range(0, len(terms), 2)]
                terms = _registered_terms(m, en, [_sum(*pair) for pair in pairs], f"{p}_{level}")

            # Last cycle: accumulate over the synapse folds, into the output registers.
            ((value, carry),) = terms
            accumulate(m, value, self.o.p.lanes[p], carry=carry, name=f"sum_{p}", **sums)
        self._deliver(m, sums)

        return m

    def _products(self, operands):
        """Terms of every neuron: a product for each synapse."""
        bits = len(operands.weights) // (self.pe * self.simd)
        for p in range(self.pe):
            terms = []
            for s, value in enumerate(operands.activation):
                weight = operands.weights.word_select(p * self.simd + s, bits).as_signed()
                # Bits are not multiplied, but select.
                product = Mux(value, weight, 0) if self.shape == unsigned(1) else value * weight
                terms.append((product, None))
            yield terms

    def _signed_pairs(self, m, en, operands):
        """Terms of every neuron with weights ±1: one for every two synapses.

        It is ±(a + b) or ±(a - b). All neurons share the sum and the difference, so that each of
        them selects and complements in a single look-up table a bit. The 1 that a complement lacks
        is the carry of the term.
        """
        zero = [Const(0)] * (self.simd % 2)
        activations = [*operands.activation, *zero]
        shared = [(a + b, a - b) for a, b in zip(activations[::2], activations[1::2], strict=True)]
        weights = operands.weights
        if self.simd > 1:
            shared = [_in_order(m, en, values, f"shared_{n}") for n, values in enumerate(shared)]
            weights = registered(m, en, weights, "shared_weights_0")
        for p in range(self.pe):
            signs = Cat(weights.word_select(p, self.simd), zero)
            terms = []
            for n, (total, difference) in enumerate(shared):
                sign, other = signs[2 * n : 2 * n + 2]
                value = Mux(sign ^ other, difference, total)
                terms.append((Mux(sign, value, ~value), ~sign))
            yield terms


def _in_order(m, en, values, name):
    """Values, an enabled cycle later."""
    return list(registered_all(m, en, dict(enumerate(values)), f"{name}_{{}}").values())


def _registered_terms(m, en, terms, name):
    """Terms and their carries, an enabled cycle later."""
    values, carries = zip(*terms, strict=True)
    values = _in_order(m, en, values, f"term_{name}")
    if carries[0] is not None:
        carries = _in_order(m, en, carries, f"carry_{name}")
    return list(zip(values, carries, strict=True))


def _sum(term, other=None):
    """Sum of one or two terms: the carry of the second goes in, that of the first has to wait."""
    if other is None:
        return term
    value, carry = term
    return add_with_carry(value, *other), carry


@lru_cache
def _weight_bits(node):
    bits, _, _ = weight_coding(node.weights)
    return bits


class IntegerConvStage(MatrixStage):
    """Multiply pixels, or bits, with integers."""

    component = IntegerMatrixVectorUnit

    @property
    def weight_bits(self):
        return _weight_bits(self.node)

    def stored(self, device, node):
        weights, folding = node.weights.reshape(self.matrix.shape), self.folding
        return integer_rows(weights, self.weight_bits, pe=folding.pe, simd=folding.simd)

    def check_room(self, node):
        ours, (needed, _, _) = self.weight_bits, weight_coding(node.weights)
        if needed > ours:
            raise DesignError(
                f"{node.name}: its weights need {needed} bits, but memories have {ours}"
            )
        result, most = node.infer(self.source).type, self.node.infer(self.source).type
        if result.low < most.low or result.high > most.high:
            raise DesignError(f"{node.name}: its sums are {result}, which exceed {most}")

    def registers(self, device):
        return _latency(self.folding.simd) - 1  # the ring takes one

    def arithmetic(self, device):
        """Products, adders and accumulators."""
        pe, simd, weight_bits = self.folding.pe, self.folding.simd, self.weight_bits
        bits, result = value_bits(self.source), value_bits(self.node.infer(self.source))
        terms = simd
        if weight_bits == 1:
            # Two activations make a term, and their sum and difference are shared.
            terms, term = -(-simd // 2), bits + 2
            luts = pe * terms * term + (simd // 2) * 2 * chain(device, bits + 1)
            multiplied = Resources(luts=luts)
        elif isinstance(self.source.type, Bit):
            term, multiplied = weight_bits, Resources(luts=pe * simd * weight_bits)
        else:
            term, multiplied = bits + weight_bits, products(device, pe * simd, bits, weight_bits)
        carry = weight_bits == 1
        adders = (terms - 1) * chain(device, term + 1 + carry) + chain(device, result + carry)
        return multiplied + Resources(luts=pe * adders)

    def build(self, device, depth):
        pe, simd = self.folding.pe, self.folding.simd
        return IntegerMatrixVectorUnit(
            self.matrix,
            value_shape(self.source.type),
            value_shape(self.node.infer(self.source).type),
            pe=pe,
            simd=simd,
            weight_style=weight_style(device, pe * simd * self.weight_bits, self.rows),
            groups=self.node.groups,
            loaded=self.loading(device),
        )
