"""Layer of constant bits whose neurons all work in every cycle, their adders shared."""

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.layer_adders import LayerAdders
from xnorflow.hw.arithmetic.layer_sums import plan_layer
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.hw.families.ecp5 import ECP5
from xnorflow.hw.streams.words import lane_layout
from xnorflow.ir import Gate, Threshold


__all__ = ["UnrolledUnit", "can_unroll", "takes_in", "unrolled_sums"]

_MOST_SYNAPSES = 1 << 16
"""Weights up to which shared adders are looked for: a minute, and more than any device holds."""

_LARGE = 1 << 15
"""Weights above which another level of logic lies between registers, which are too many else."""


def can_unroll(weights, *, bits=1, mask=None):
    """Whether a matrix of weights may become an `UnrolledUnit`."""
    return mask is None and bits == 1 and weights.size <= _MOST_SYNAPSES


def unrolled_sums(weights, gate, popcount, family, threshold=None):
    """What an `UnrolledUnit` adds."""
    compare = {}
    if threshold is not None:
        compare = {"thresholds": threshold.thresholds, "inverted": threshold.inverted}
    levels = max(2, family.levels_per_stage + (weights.size > _LARGE))
    return plan_layer(weights, gate, popcount=popcount, levels_per_stage=levels, **compare)


def takes_in(threshold):
    """Whether the unit in front of a `Threshold` may compare in its place."""
    return (
        isinstance(threshold, Threshold)
        and threshold.popcount_weights is None
        and threshold.classes is None
        and threshold.fraction == 0
    )


class UnrolledUnit(wiring.Component):
    """Count, for every neuron, the synapses where the gate gives 1; a vector every cycle.

    The node behind, if it is a threshold, may be part of it.

    What a `MatrixVectorUnit` does of a single fold. Vectors move on together, unless results wait
    to be taken.

    Parameters
    ----------
    weights : array of bool, (matrix_height, matrix_width)
        Weight bits.
    gate : :class:`Gate`
        What is counted: equal bits (xnor), or bits that are both 1 (and).
    popcount : :class:`bool`
        Whether P, the sum of the vector, goes along with every word.
    threshold : :class:`xnorflow.ir.Threshold`, optional
        With what counts are compared: then bits are delivered. See `takes_in`.
    lanes : :class:`int`
        Of ``i``, at least matrix_width; spare ones are not read.
    family : :class:`Family`
        Whose cells carry chains are made of.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a vector to that of its results, if nothing waits.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(1, lanes)))``
    o : ``Out(stream.Signature(lane_layout(range(matrix_width + 1), matrix_height, popcount=...)))``
        With a threshold, values of 1 bit.

    Raises
    ------
    :exc:`ValueError`
        If there are fewer lanes than synapses.
    """

    def __init__(
        self,
        weights,
        *,
        gate=Gate.XNOR,
        popcount=False,
        threshold=None,
        lanes=None,
        family=ECP5,
    ):
        weights = np.asarray(weights, dtype=bool)
        neurons, synapses = weights.shape
        lanes = synapses if lanes is None else lanes
        if lanes < synapses:
            raise ValueError(f"Lanes must be at least the {synapses} synapses, not {lanes!r}")
        self.weights = weights
        self.popcount = popcount
        self.threshold = threshold
        sums = unrolled_sums(weights, gate, popcount, family, threshold)
        self._adders = LayerAdders(sums, family)
        self.latency = 1 + self._adders.latency
        count = range(synapses + 1)
        result = count if threshold is None else 1
        super().__init__({
            "i": In(stream.Signature(lane_layout(1, lanes))),
            "o": Out(
                stream.Signature(lane_layout(result, neurons, popcount=count if popcount else None))
            ),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.adders = adders = self._adders
        en, valid = Signal(), Signal(self.latency)
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(en),
            self.o.valid.eq(valid[-1]),
            adders.en.eq(en),
            adders.i.eq(registered(m, en, self.i.p.lanes.as_value(), "word")),
        ]
        m.d.comb += [lane.eq(count) for lane, count in zip(self.o.p.lanes, adders.o, strict=True)]
        if self.popcount:
            m.d.comb += self.o.p.popcount.eq(adders.popcount)
        with m.If(en):
            m.d.sync += valid.eq(Cat(self.i.valid, valid))
        return m
