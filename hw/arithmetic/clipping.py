"""Values that do not fit."""

from amaranth import *


__all__ = ["clipped"]


def clipped(value, bits):
    """A signed ``value``, or the end of the range of ``bits`` bits that is next to it."""
    if len(value) <= bits:
        return value
    sign, rest = value[-1], value[bits - 1 : -1]
    fits = Mux(sign, rest.all(), ~rest.any())
    return Mux(fits, value[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()
