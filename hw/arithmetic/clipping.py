"""Values that do not fit."""

from dataclasses import replace

from amaranth import *


__all__ = ["clipped"]


def clipped(value, rounding):
    """A signed ``value``, or the end of the range of a ``rounding`` that is next to it."""
    bits = rounding.bits
    if rounding.narrow:
        wide = clipped(value, replace(rounding, narrow=False))
        if len(wide) < bits:
            return wide
        # Of the smallest value of all only the sign is set: it gets the lowest bit, too.
        smallest = wide[-1] & ~wide[:-1].any()
        return Cat(wide[0] | smallest, wide[1:]).as_signed()
    if len(value) <= bits:
        return value
    sign, rest = value[-1], value[bits - 1 : -1]
    fits = Mux(sign, rest.all(), ~rest.any())
    return Mux(fits, value[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()
