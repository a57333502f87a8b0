"""Registers of a pipeline that moves as one: values as they were some enabled cycles ago."""

from amaranth import *


__all__ = ["delayed", "registered", "registered_all"]


def registered(m, en, value, name):
    """A value, an enabled cycle later; the register is called ``name``, and has no reset."""
    return registered_all(m, en, {name: value})[name]


def registered_all(m, en, values, names="{}", *, resets=()):
    """The values of a dictionary, an enabled cycle later.

    Registers are called after their keys, by the format ``names``. Only those whose keys are in
    ``resets`` have a reset.
    """
    registers = {
        key: Signal(value.shape(), name=names.format(key), reset_less=key not in resets)
        for key, value in values.items()
    }
    with m.If(en):
        m.d.sync += [registers[key].eq(value) for key, value in values.items()]
    return registers


def delayed(m, en, values, cycles, *, resets=()):
    """The same, ``cycles`` enabled cycles later."""
    for stage in range(cycles):
        values = registered_all(m, en, values, f"{{}}_{stage}", resets=resets)
    return values
