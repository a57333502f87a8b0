"""Counters that walk through words, columns and rows, and that keep count of what is there."""

from amaranth import *


__all__ = ["counter", "level"]


def counter(m, name, length, step, *, clear=None):
    """Count 0…``length`` − 1 round and round, one up with every ``step``, from 0 after ``clear``.

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
        if clear is not None:
            with m.If(clear):
                m.d.sync += [count.eq(0), last.eq(0)]
    return count, last


def level(m, name, most, *, up, down):
    """Count what comes and goes, from 0 to ``most``.

    Returns
    -------
    count : :class:`Signal`
    some : :class:`Signal`
        Whether there is any.
    room : :class:`Signal`
        Whether there are fewer than ``most``. Both are registers, too, which ``up`` and ``down``
        reach through a single table.
    """
    count = Signal(range(most + 1), name=name)
    some, room = Signal(name=f"some_{name}"), Signal(name=f"room_{name}", init=1)
    with m.If(up != down):
        m.d.sync += [
            count.eq(count + Mux(up, 1, -1)),
            some.eq(up | (count != 1)),
            room.eq(down | (count != most - 1)),
        ]
    return count, some, room
