"""Sum of products of activations and a neuron's weights, counted in whichever way is smallest."""

from dataclasses import dataclass

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.carry_count import (
    CarryCount,
    carry_count_halves,
    carry_count_latency,
)
from xnorflow.hw.arithmetic.chained_count import (
    ChainedCount,
    chained_count_latency,
    chained_count_luts,
)
from xnorflow.hw.arithmetic.popcount import Popcount, counts_triples, popcount_latency
from xnorflow.hw.arithmetic.xnor import count_triples, encode_weights, share_parities
from xnorflow.hw.arithmetic.xnor_groups import (
    count_groups,
    encode_groups,
    group_counts,
    group_parities,
    share_groups,
)
from xnorflow.hw.families.device import Family
from xnorflow.ir import Gate


__all__ = ["ProductCount"]

_LUTS_PER_CONSTANT_SYNAPSE = 1.7

_GROUPS = 5
"""Lanes from which on there are groups."""


@dataclass(frozen=True)
class ProductCount:
    """How the products of a word are counted.

    - In carry cells, where the family's add products and weights are not constants: see
      `xnorflow.hw.arithmetic.carry_count`.
    - By groups of up to nine products, whose parities all neurons share, and adders end to end in
      carry chains, where that is smaller: see `xnorflow.hw.arithmetic.xnor_groups` and
      `xnorflow.hw.arithmetic.chained_count`.
    - By counters of three products each, whose parities all neurons share: see
      `xnorflow.hw.arithmetic.xnor`.
    - By a gate for each product, and a `Popcount`.

    Numbers up to a power of two take one bit more than those below it, and trees of adders in carry
    cells want an odd number of lanes. So the lowest bit of the last lane may be ``carried``: it
    waits, and becomes the carry of the accumulator.

    Parameters
    ----------
    simd : :class:`int`
        Lanes of a word.
    family : :class:`Family`
    gate : :class:`Gate`
        What a product is: whether bits are equal (xnor), or both 1 (and).
    bits : :class:`int`
        Of an activation.
    masked : :class:`bool`
        Whether a weight has two bits: its value, and behind it whether the synapse counts.
    constant : :class:`bool`
        Whether the weights are always the same.
    neurons : :class:`int`
        Neurons that share a word.
    """

    simd: int
    family: Family
    gate: Gate = Gate.XNOR
    bits: int = 1
    masked: bool = False
    constant: bool = False
    neurons: int = 1

    @property
    def in_carries(self):
        """Whether products are added in carry cells."""
        return self.family.carries_add_products and self.simd > 3 and not self.constant

    @property
    def carried(self):
        """Whether the last lane's lowest bit is not counted."""
        if self.in_carries:
            return self.simd % 2 == 0
        return self.bits == 1 and self.simd > 1 and self.simd & self.simd - 1 == 0

    @property
    def _counted(self):
        """Lanes that are counted whole."""
        return self.simd - self.carried

    @property
    def _spare(self):
        """Lanes that are counted without their lowest bit."""
        return int(self.carried and self.bits > 1)

    @property
    def in_groups(self):
        """Whether products are counted in groups of up to nine."""
        if not self.family.chains_adders or self.gate is not Gate.XNOR or self._counted < _GROUPS:
            return False
        if self.constant or self.masked or self.bits > 1:
            return False
        costs = self._group_luts(), self._tree_luts()
        in_groups, in_trees = (self.neurons * each + shared for each, shared in costs)
        return in_groups < in_trees

    @property
    def _in_triples(self):
        return not self.in_groups and self._can_be_triples

    @property
    def _can_be_triples(self):
        return (
            not self.in_carries
            and not self.masked
            and self.gate is Gate.XNOR
            and counts_triples(self._counted, self.family)
        )

    @property
    def weight_bits(self):
        """Bits of a weight."""
        return 1 + self.masked

    @property
    def latency(self):
        """Clock cycles from operands to the count."""
        if self.in_carries:
            return carry_count_latency(self._counted, self.bits, self._spare)
        if self.in_groups:
            return chained_count_latency(*group_counts(self._counted), self.family)
        return popcount_latency(self._counted, self.family, self.bits)

    @property
    def encode(self):
        """Function from the weights (…, simd) of words to what is stored, or None."""
        if self.in_groups:
            counted = self._counted
            return lambda weights: np.concatenate(
                [encode_groups(weights[..., :counted]), weights[..., counted:]], axis=-1
            )
        if self._in_triples:
            return encode_weights
        # In carry cells, a product is an XOR.
        inverts = self.in_carries and self.gate is Gate.XNOR and not self.masked
        return (lambda weights: 1 - weights) if inverts else None

    def prepare(self, word):
        """Activations as they are delivered: plane by plane."""
        if self.in_groups:
            return Cat(share_groups(word[: self._counted]), word[self._counted :])
        planes = [word[n :: self.bits] for n in range(self.bits)]
        return Cat(map(share_parities, planes) if self._in_triples else planes)

    @property
    def ones(self):
        """Weights, as they are stored, with which the sum of the activations is counted."""
        ones = np.ones(self.simd, np.int64)
        code = ones if self.encode is None else self.encode(ones)
        return Cat(Const(int(bit), 1) for bit in code)

    def count(self, m, name, activations, weights, en):
        """Add the counter ``popcount_{name}`` to a module.

        Returns
        -------
        count : :class:`Value`
            ``latency`` enabled cycles later.
        carry : :class:`Value` or None
            The product that is not counted, at once.
        """
        size = len(activations) // self.bits
        planes = [activations.word_select(n, size) for n in range(self.bits)]
        width = self.weight_bits
        # The last lane is the last of the prepared ones, too.
        carry = self._products(planes[0][-1:], weights[-width:]) if self.carried else None
        if self.in_carries:
            counter = CarryCount(self._counted, self.gate, planes=self.bits, spare=self._spare)
            if self.masked:
                planes = [self._products(plane, weights) for plane in planes]
                weights = Const(0, self.simd)
            lanes = self._counted + self._spare
            m.d.comb += [
                counter.i.eq(Cat(plane[:lanes] for plane in planes)),
                counter.w.eq(weights),
            ]
            if self.gate is Gate.XNOR and not self.masked and carry is not None:
                carry = ~carry  # the weight is inverted
        else:
            end = -1 if self.carried else None
            counted = weights[: self._counted * width]
            if self.in_groups:
                products = count_groups
                counter = ChainedCount(*group_counts(self._counted), self.family)
            else:
                products = count_triples if self._in_triples else self._products
                counter = Popcount(
                    self._counted, family=self.family, counted=self._in_triples, planes=self.bits
                )
            m.d.comb += counter.i.eq(Cat(products(plane[:end], counted) for plane in planes))
        m.submodules[f"popcount_{name}"] = counter
        m.d.comb += counter.en.eq(en)
        return counter.o, carry

    def _products(self, activations, weights):
        """The gates of some lanes, a bit each."""
        if self.masked:
            return (activations & weights[1::2]) ^ (weights[1::2] & ~weights[::2])
        return activations & weights if self.gate is Gate.AND else ~(activations ^ weights)

    def luts(self):
        """Estimated look-up tables: of a neuron, and what all neurons share."""
        if self.in_carries:
            gates = self.masked * self.simd * self.bits
            return gates + carry_count_halves(self._counted, self.bits, self._spare), 0
        return self._group_luts() if self.in_groups else self._tree_luts()

    def _group_luts(self):
        terms, parities = group_parities(self._counted)
        # A register is in the same place as the look-up table in front of it.
        lanes = self._counted - (terms - parities)
        shared = parities - self.family.luts_per_register * lanes
        return self._counted + chained_count_luts(*group_counts(self._counted)), shared

    def _tree_luts(self):
        counted, shared = self._counted, 0
        if self.constant:
            popcount = _LUTS_PER_CONSTANT_SYNAPSE * counted
        elif not counts_triples(counted, self.family):
            popcount = (self.family.luts_per_added_synapse + self.masked) * counted
        elif self.masked:
            # A look-up table for each gate, and two for each adder.
            popcount = counted + 2 * (counted - counted.bit_length())
        else:
            # Each adder takes three bits to two. The first ones share parities.
            triples, adders = counted // 3, counted - counted.bit_length()
            popcount = 3 * triples + 2 * (adders - triples) + counted % 3
            shared = self.simd * self.bits
        # Planes meet in one tree, which ends in a few more adders.
        return self.bits * popcount + 2 * (self.bits - 1), shared
