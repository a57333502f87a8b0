"""Scales and offsets: values by the constants of their channel."""

from functools import lru_cache

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.clipping import clipped
from xnorflow.hw.arithmetic.constants import ConstantTable, are_shifts
from xnorflow.hw.arithmetic.partial_products import partial_products
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.hw.arithmetic.resources import (
    Resources,
    bits_of,
    chain,
    counters,
    products,
    registers,
    table,
)
from xnorflow.hw.ops.channel_constants import ConstantUnit
from xnorflow.hw.ops.stage import PacedStage
from xnorflow.hw.streams.words import value_bits
from xnorflow.ir import int_bits


__all__ = ["Affine", "AffineStage", "corrections_of"]


def affine_latency(node):
    """Clock cycles that an `Affine` takes; rounding costs one, and so do corrections of values."""
    rounding = 0 if node.rounding is None else 1
    return ConstantTable.latency + 2 + rounding + (corrections_of(node) is not None)


@lru_cache
def corrections_of(node):
    """Offsets of border classes as corrections of values, if these are the smaller numbers.

    Padding changes counts by whole numbers, so offsets mostly are ``scale * correction + base``.

    Returns
    -------
    corrections : array of int, (classes, channels)
        0 or more.
    base : array of int, (channels,)
    """
    offsets = np.atleast_2d(node.offset)
    steps, rest = np.divmod(offsets - offsets[0], np.where(node.scale == 0, 1, node.scale))
    if rest.any() or steps[:, node.scale == 0].any():
        return None
    corrections, base = steps - steps.min(axis=0), offsets[0] + node.scale * steps.min(axis=0)
    if not corrections.any() or 2 * bits_of(corrections) > bits_of(offsets):
        return None
    return corrections, base


class Affine(ConstantUnit):
    """Scale and shift each value by its channel's constants.

    Computes ``scale * x + popcount_scale * P + offset``, then rounds and clips. A power of two that
    all channels share as their scale costs no multiplier. Offsets of border classes that come from
    padding are added to x as small numbers, see `corrections_of`.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 4, and with rounding 5; one more if x is
        corrected.
    """

    def __init__(self, node, source, *, lanes, device=None):
        super().__init__(node, source, lanes=lanes, device=device)
        self.latency = affine_latency(node)
        self._multiplier_bits = device.multiplier_bits if device and device.multipliers else None
        low, high = node.bounds(source)
        half = 0 if node.rounding is None else node.rounding.half
        self._sum = signed(int_bits(int(low.min()), int(high.max()) + half))

    @staticmethod
    def columns(node):
        """Scales, and offsets with half of an ulp in them."""
        scales = {"scale": node.scale}
        if node.popcount_scale is not None:
            scales["popcount_scale"] = node.popcount_scale
        half = 0 if node.rounding is None else node.rounding.half
        if (separated := corrections_of(node)) is None:
            return {"scales": scales, "offsets": {"offset": node.offset + half}}
        corrections, base = separated
        constants = {**scales, "offset": base + half}
        return {"scales": constants, "corrections": {"correction": corrections}}

    def elaborate(self, platform):
        m = Module()
        en, word, scales, offsets = self._fetch(m)
        values = list(word.lanes)
        if corrections_of(self.node) is not None:
            # A cycle more: values are corrected, and all else waits.
            corrected = zip(values, offsets.correction, strict=True)
            values = [registered(m, en, a + b, f"x_{n}") for n, (a, b) in enumerate(corrected)]
            scales = offsets = registered(m, en, scales, "constants")
            word = registered(m, en, word, "waited")

        shared = len(set(self.node.scale.tolist())) == 1
        for n in range(self.lanes):
            # Cycle 3: the products.
            if shared:
                terms = [Const(int(self.node.scale[0])) * values[n]]
            else:
                terms = self._products(scales.scale[n], values[n])
            if self.node.popcount_scale is not None:
                terms += self._products(scales.popcount_scale[n], word.popcount)
            terms.append(offsets.offset[n])
            terms = [registered(m, en, term, f"term_{n}_{k}") for k, term in enumerate(terms)]
            # Cycle 4: their sum. Cycle 5: what is rounded away is left out.
            value = Signal(self._sum, name=f"sum_{n}", reset_less=True)
            with m.If(en):
                m.d.sync += value.eq(sum(terms))
            if self.node.rounding is not None:
                rounded = clipped(value >> self.node.rounding.shift, self.node.rounding)
                value = registered(m, en, rounded, f"value_{n}")
            m.d.comb += self.o.p.lanes[n].eq(value)

        return m

    def _products(self, constant, value):
        """Terms of a product: one for each multiplier that it takes."""
        if self._multiplier_bits is None:
            return [constant * value]
        return partial_products(constant, value, self._multiplier_bits)


@lru_cache
def _clips(node, source):
    """Whether there are results that are clipped."""
    if node.rounding is None:
        return False
    (low, high), rounding = node.bounds(source), node.rounding
    least, most = (int(n) + rounding.half >> rounding.shift for n in (low.min(), high.max()))
    return least < rounding.type.low + rounding.narrow or most > rounding.type.high


class AffineStage(PacedStage):
    """Scale and shift, and round."""

    component = Affine

    def registers(self, device):
        return affine_latency(self.node)

    def resources(self, device, depth=None):
        node, source, lanes = self.node, self.source, self.lanes
        term = node.popcount_scale is not None
        shared = len(set(node.scale.tolist())) == 1
        row = 0 if shared else bits_of(node.scale)
        rounding = 2 * lanes * node.rounding.bits if _clips(node, source) else 0
        adders = lanes * chain(device, value_bits(node.infer(source)))
        total = Resources(luts=adders + rounding)
        if not are_shifts(node.scale):
            total += products(device, lanes, value_bits(source), bits_of(node.scale))
        if term:
            row += bits_of(node.popcount_scale)
            total += products(device, lanes, value_bits(source), bits_of(node.popcount_scale))
        words = -(-source.channels // lanes)
        if (separated := corrections_of(node)) is not None:
            corrections, base = separated
            bits, classes = lanes * bits_of(corrections), len(corrections)
            total += Resources(luts=lanes * chain(device, value_bits(source) + 1))
            total += registers(device, lanes * (row + bits_of(base)))
            total += table(device, bits, words * classes) + counters(source.width, source.height)
            return total + table(device, lanes * (row + bits_of(base)), words)
        classes = len(np.atleast_2d(node.offset))
        filled = np.count_nonzero(node.offset) / node.offset.size
        total += table(device, lanes * bits_of(node.offset), words * classes, filled=filled)
        return total + table(device, lanes * row, words)
