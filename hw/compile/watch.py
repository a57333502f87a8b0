"""Signals that show a simulation where words wait; hardware that is built has none of them."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib.wiring import Out


__all__ = ["FILL_BITS", "buffers_of", "fills_of", "waits_of", "watch_ports"]

FILL_BITS = 32
"""Bits of the fill of a buffer."""


def buffers_of(design):
    """Stages with a buffer, in order."""
    return [stage for stage in design.stages if stage.least_depth is not None]


def watch_ports(design):
    """Ports of what is watched. Their width is never 0, as few tools bear that."""
    fills = FILL_BITS * len(buffers_of(design))
    return {"waits": Out(2 * len(design.stages)), "fills": Out(max(FILL_BITS, fills))}


def waits_of(design, units):
    """Two bits for each stage: whether it waits for words, and whether it holds a word back.

    A stage holds a word back if whoever gets it does not take it. Otherwise it waits for words if
    it is a layer that has nothing to multiply, or another unit that would take a word which does
    not come.

    Parameters
    ----------
    design : :class:`Design`
        What is watched.
    units : mapping of :class:`str` to :class:`Component`
        What its stages have become.
    """
    bits = []
    for stage in design.stages:
        unit = units[stage.name]
        held = _any(o.valid & ~o.ready for o in stage.outputs(unit))
        if hasattr(unit, "step"):
            starved = ~unit.step
        else:
            inputs = [getattr(unit, name) for name in stage.inputs]
            starved = _any(i.ready & ~i.valid for i in inputs)
        bits += [~held & starved, held]
    return Cat(bits)


def fills_of(m, design, units):
    """Words in each buffer, `FILL_BITS` each; 0 where nobody counts them."""
    fills = []
    for stage in buffers_of(design):
        unit = units[stage.name]
        fill = Signal(FILL_BITS, name=f"fill_{stage.name}")
        if hasattr(unit, "filled"):
            m.d.comb += fill.eq(unit.filled)
        elif getattr(stage, "passes", 1) == 1:
            came, (o, *_) = unit.i.valid & unit.i.ready, stage.outputs(unit)
            m.d.sync += fill.eq(fill + came - (o.valid & o.ready))
        fills.append(fill)
    return Cat(fills)


def _any(bits):
    return reduce(or_, bits)
