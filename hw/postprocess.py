"""Arithmetic on values by their channel's constants: scales and offsets, or two slopes."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.constants import ConstantTable, MemoryStyle, channel_rows
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.hw.streams.words import map_layout
from xnorflow.network import int_bits


__all__ = [
    "PostProcess",
    "TwoSlope",
    "affine_latency",
    "clipped",
    "offset_rows",
    "scale_is_shift",
    "scale_rows",
    "slope_rows",
    "slopes_are_shifts",
]


def affine_latency(node):
    """Clock cycles that a `PostProcess` takes; rounding costs one."""
    return ConstantTable.latency + (2 if node.rounding is None else 3)


def scale_rows(node, *, lanes, vector):
    """Layout and contents of the scales of a `PostProcess`, as `channel_rows` gives them."""
    columns = {"scale": node.scale}
    if node.popcount_scale is not None:
        columns["popcount_scale"] = node.popcount_scale
    return channel_rows(columns, lanes=lanes, vector=vector)


def offset_rows(node, *, lanes, vector):
    """The same of its offsets, which may depend on border classes; half of an ulp is in them."""
    half = 0 if node.rounding is None else node.rounding.half
    return channel_rows({"offset": node.offset + half}, lanes=lanes, vector=vector)


def slope_rows(node, *, lanes, vector):
    """Layout and contents of the constants of a `TwoSlope`, as `channel_rows` gives them."""
    columns = {"positive": node.positive, "negative": node.negative}
    return channel_rows(columns, lanes=lanes, vector=vector)


def scale_is_shift(node):
    """Whether the scale of an `Affine` needs no multiplier.

    Then all channels have the same, and it is a power of two.
    """
    return _is_shift(node.scale)


def slopes_are_shifts(node):
    """Whether a `TwoSlope` needs no multiplier.

    Then all channels have the same two slopes, each of them 0 or a power of two.
    """
    return _is_shift(node.positive) and _is_shift(node.negative)


def _is_shift(factors):
    """Whether all ``factors`` are the same, and that is 0 or a power of two."""
    (first, *others) = set(factors.tolist())
    return not others and first & (first - 1) == 0


def clipped(value, bits):
    """A signed ``value``, or the end of the range of ``bits`` bits that is next to it."""
    if len(value) <= bits:
        return value
    sign, rest = value[-1], value[bits - 1 : -1]
    fits = Mux(sign, rest.all(), ~rest.any())
    return Mux(fits, value[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()


class PostProcess(wiring.Component):
    """Scale and shift each value by its channel's constants.

    Computes ``scale * x + popcount_scale * P + offset``, then rounds and clips. Where offsets
    depend on a pixel's border class, pixels are counted. Takes a word every cycle; an output that
    is not taken stalls the whole pipeline. A power of two that all channels share as their scale
    costs no multiplier.

    Parameters
    ----------
    node : :class:`xnorflow.network.Affine`
        The constants.
    source : :class:`xnorflow.network.FeatureMap`
        What the values are.
    lanes : :class:`int`
        Values a word.
    vector : :class:`int`
        Values of a vector: the channels of a pixel, or several whole pixels.
    scale_style, offset_style : :class:`MemoryStyle`
        Where the constants are kept.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 4, and with rounding 5.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    o : ``Out(stream.Signature(map_layout(node.infer(source), lanes)))``

    Raises
    ------
    NetworkError
        If the node does not fit its source.
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
        self.node = node
        self.lanes = lanes
        self.latency = affine_latency(node)
        self._scales = ConstantTable(
            *scale_rows(node, lanes=lanes, vector=vector), style=scale_style
        )
        self._offsets = ConstantTable(
            *offset_rows(node, lanes=lanes, vector=vector), style=offset_style, classes=node.classes
        )
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "o": Out(stream.Signature(map_layout(node.infer(source), lanes))),
        })
        low, high = node.bounds(source)
        half = 0 if node.rounding is None else node.rounding.half
        self._sum = signed(int_bits(int(low.min()), int(high.max()) + half))

    def elaborate(self, platform):
        m = Module()
        m.submodules.scales = scales = self._scales
        m.submodules.offsets = offsets = self._offsets
        en, word = _fetch(m, self, scales, offsets)

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


class TwoSlope(wiring.Component):
    """Multiply each value by one of its channel's two slopes, round and clip.

    Takes a word every cycle; an output that is not taken stalls the whole pipeline. Two slopes that
    all channels share, such as ReLU's 1 and 0, cost no multiplier if they are powers of two or 0.

    Parameters
    ----------
    node : :class:`xnorflow.network.TwoSlope`
        The constants.
    source : :class:`xnorflow.network.FeatureMap`
        What the values are.
    lanes : :class:`int`
        Values a word.
    vector : :class:`int`
        Values of a vector: the channels of a pixel, or several whole pixels.
    style : :class:`MemoryStyle`
        Where the constants are kept.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery: 5.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    o : ``Out(stream.Signature(map_layout(node.infer(source), lanes)))``

    Raises
    ------
    NetworkError
        If the node does not fit its source.
    """

    latency = ConstantTable.latency + 3

    def __init__(self, node, source, *, lanes, vector, style=MemoryStyle.AUTO):
        self.node = node
        self.lanes = lanes
        self._slopes = ConstantTable(*slope_rows(node, lanes=lanes, vector=vector), style=style)
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "o": Out(stream.Signature(map_layout(node.infer(source), lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.slopes = slopes = self._slopes
        en, word = _fetch(m, self, slopes)

        rounding = self.node.rounding
        shifts = slopes_are_shifts(self.node)
        for n in range(self.lanes):
            positive, negative = slopes.row.positive[n], slopes.row.negative[n]
            # Cycle 3: the slope. A register in front of the multiplier keeps it fast.
            value = registered(m, en, word.lanes[n], f"value_{n}")
            # Cycle 4: the product. Cycle 5: what is rounded away is left out.
            if shifts:
                # Synthesis knows the constants, but not which values a register can take.
                product = Mux(value[-1], negative * value, positive * value)
            else:
                slope = Mux(word.lanes[n][-1], negative, positive)
                product = registered(m, en, slope, f"slope_{n}") * value
            product = registered(m, en, product, f"product_{n}")
            rounded = clipped((product + rounding.half) >> rounding.shift, rounding.bits)
            output = registered(m, en, rounded, f"output_{n}")
            m.d.comb += self.o.p.lanes[n].eq(output)

        return m


def _fetch(m, unit, *tables):
    """Handshake of a ``unit`` that moves as one: its clock enable, and words with their constants.

    Both are there 2 enabled cycles after a transfer.
    """
    valid = Signal(unit.latency)
    en = Signal()
    m.d.comb += [
        en.eq(~unit.o.valid | unit.o.ready),
        unit.i.ready.eq(en),
        unit.o.valid.eq(valid[-1]),
    ]
    for table in tables:
        m.d.comb += [table.en.eq(en), table.step.eq(unit.i.valid)]
    waiting = Signal(unit.i.p.shape(), reset_less=True)
    word = Signal(unit.i.p.shape(), reset_less=True)
    with m.If(en):
        m.d.sync += [valid.eq(Cat(unit.i.valid, valid)), waiting.eq(unit.i.p), word.eq(waiting)]
    return en, word
