"""Counters that walk through words, columns and rows."""

from amaranth import *


__all__ = ["counter"]


def counter(m, name, length, step):
    """Count 0…``length`` − 1 round and round, one up with every ``step``.

    Returns
    -------
    count : :class:`Signal`
    last : :class:`Signal`
        Whether the count is at its end: a register, too.
    """
    count = Signal(range(length), name=name)
    last = Signal(name=f"last_{name}", init=length == 1)
    if length > 1:
        with m.If(step):
            m.d.sync += [count.eq(Mux(last, 0, count + 1)), last.eq(count == length - 2)]
    return count, last
