"""Scales and offsets: values by the constants of their channel."""

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.clipping import clipped
from xnorflow.hw.arithmetic.constants import (
    ConstantTable,
    MemoryStyle,
    are_shifts,
    channel_rows,
    fetch,
)
from xnorflow.hw.arithmetic.memory import table_style
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.hw.arithmetic.resources import Resources, bits_of, chain, products, table
from xnorflow.hw.ops.stage import PacedStage
from xnorflow.hw.ops.unit import LaneUnit
from xnorflow.hw.streams.words import value_bits, vector_of
from xnorflow.ir import int_bits


__all__ = ["Affine", "AffineStage"]


def affine_latency(node):
    """Clock cycles that an `Affine` takes; rounding costs one."""
    return ConstantTable.latency + (2 if node.rounding is None else 3)


def scale_rows(node, *, lanes, vector):
    """Layout and contents of the scales of an `Affine`, as `channel_rows` gives them."""
    columns = {"scale": node.scale}
    if node.popcount_scale is not None:
        columns["popcount_scale"] = node.popcount_scale
    return channel_rows(columns, lanes=lanes, vector=vector)


def offset_rows(node, *, lanes, vector):
    """The same of its offsets, which may depend on border classes; half of an ulp is in them."""
    half = 0 if node.rounding is None else node.rounding.half
    return channel_rows({"offset": node.offset + half}, lanes=lanes, vector=vector)


class Affine(LaneUnit):
    """Scale and shift each value by its channel's constants.

    Computes ``scale * x + popcount_scale * P + offset``, then rounds and clips. Where offsets
    depend on a pixel's border class, pixels are counted. Takes a word every cycle; an output that
    is not taken stalls the whole pipeline. A power of two that all channels share as their scale
    costs no multiplier.

    Parameters
    ----------
    node, source, lanes
        As for every `LaneUnit`.
    vector : :class:`int`
        Values of a vector: the channels of a pixel, or several whole pixels.
    scale_style, offset_style : :class:`MemoryStyle`
        Where the constants are kept.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 4, and with rounding 5.
    """

    def __init__(
        self,
        node,
        source,
        *,
        lanes,
        vector,
        scale_style=MemoryStyle.AUTO,
        offset_style=MemoryStyle.AUTO,
    ):
        super().__init__(node, source, lanes=lanes)
        self.latency = affine_latency(node)
        self._scales = ConstantTable(
            *scale_rows(node, lanes=lanes, vector=vector), style=scale_style
        )
        self._offsets = ConstantTable(
            *offset_rows(node, lanes=lanes, vector=vector), style=offset_style, classes=node.classes
        )
        low, high = node.bounds(source)
        half = 0 if node.rounding is None else node.rounding.half
        self._sum = signed(int_bits(int(low.min()), int(high.max()) + half))

    def elaborate(self, platform):
        m = Module()
        m.submodules.scales = scales = self._scales
        m.submodules.offsets = offsets = self._offsets
        en, word = fetch(m, self, scales, offsets)

        shared = len(set(self.node.scale.tolist())) == 1
        for n in range(self.lanes):
            # Cycle 3: the products.
            scale = Const(int(self.node.scale[0])) if shared else scales.row.scale[n]
            terms = [scale * word.lanes[n], offsets.row.offset[n]]
            if self.node.popcount_scale is not None:
                terms.append(scales.row.popcount_scale[n] * word.popcount)
            terms = [registered(m, en, term, f"term_{n}_{k}") for k, term in enumerate(terms)]
            # Cycle 4: their sum. Cycle 5: what is rounded away is left out.
            value = Signal(self._sum, name=f"sum_{n}", reset_less=True)
            with m.If(en):
                m.d.sync += value.eq(sum(terms))
            if self.node.rounding is not None:
                rounded = clipped(value >> self.node.rounding.shift, self.node.rounding.bits)
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

    def build(self, device, depth):
        vector = vector_of(self.source, self.lanes)
        scales, offsets = (
            table_style(device, *rows(self.node, lanes=self.lanes, vector=vector))
            for rows in (scale_rows, offset_rows)
        )
        return Affine(
            self.node,
            self.source,
            lanes=self.lanes,
            vector=vector,
            scale_style=scales,
            offset_style=offsets,
        )
