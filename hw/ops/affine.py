"""Scales and offsets: values by the constants of their channel."""

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.clipping import clipped
from xnorflow.hw.arithmetic.constants import ConstantTable, are_shifts
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.hw.arithmetic.resources import Resources, bits_of, chain, products, table
from xnorflow.hw.ops.channel_constants import ConstantUnit
from xnorflow.hw.ops.stage import PacedStage
from xnorflow.hw.streams.words import value_bits
from xnorflow.ir import int_bits


__all__ = ["Affine", "AffineStage"]


def affine_latency(node):
    """Clock cycles that an `Affine` takes; rounding costs one."""
    return ConstantTable.latency + (2 if node.rounding is None else 3)


class Affine(ConstantUnit):
    """Scale and shift each value by its channel's constants.

    Computes ``scale * x + popcount_scale * P + offset``, then rounds and clips. A power of two that
    all channels share as their scale costs no multiplier.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 4, and with rounding 5.
    """

    def __init__(self, node, source, *, lanes, device=None):
        super().__init__(node, source, lanes=lanes, device=device)
        self.latency = affine_latency(node)
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
        return {"scales": scales, "offsets": {"offset": node.offset + half}}

    def elaborate(self, platform):
        m = Module()
        en, word, scales, offsets = self._fetch(m)

        shared = len(set(self.node.scale.tolist())) == 1
        for n in range(self.lanes):
            # Cycle 3: the products.
            scale = Const(int(self.node.scale[0])) if shared else scales.scale[n]
            terms = [scale * word.lanes[n], offsets.offset[n]]
            if self.node.popcount_scale is not None:
                terms.append(scales.popcount_scale[n] * word.popcount)
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
        rounding = 2 * lanes * node.rounding.bits if node.rounding else 0
        adders = lanes * chain(device, value_bits(node.infer(source)))
        total = Resources(luts=adders + rounding)
        if not are_shifts(node.scale):
            total += products(device, lanes, value_bits(source), bits_of(node.scale))
        if term:
            row += bits_of(node.popcount_scale)
            total += products(device, lanes, value_bits(source), bits_of(node.popcount_scale))
        words = -(-source.channels // lanes)
        classes = len(np.atleast_2d(node.offset))
        total += table(device, lanes * bits_of(node.offset), words * classes)
        return total + table(device, lanes * row, words)
