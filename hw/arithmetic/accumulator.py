"""Sums over the words of a vector: the last stage of a matrix-vector unit."""

from amaranth import *


__all__ = ["accumulate", "add_with_carry"]


def accumulate(m, term, target, *, en, valid, last, words, carry=None, name="sum"):
    """Add up the ``words`` terms of each vector, and show the sum in a register behind ``target``.

    The running sum restarts by the reset of its flip-flops, which costs no look-up table; a
    multiplexer in front of the adder would take one a bit.

    Parameters
    ----------
    m : :class:`Module`
        Where the registers go.
    term : :class:`Value`
        What is added.
    target : :class:`Signal`
        The sum of a vector, from the cycle after its last term on, until the next one.
    en, valid, last : :class:`Value`
        Clock enable; whether there is a term; whether it is the last of its vector.
    words : :class:`int`
        Terms of a vector.
    carry : :class:`Value`
        A bit that is added to the term, if there is one.
    name : :class:`str`
        Of the register.
    """
    register = Signal(target.shape(), name=name, reset_less=True)
    m.d.comb += target.eq(register)
    total = Signal(target.shape(), name=f"{name}_next")
    if words == 1:
        m.d.comb += total.eq(term if carry is None else term + carry)
    else:
        running = Signal(target.shape(), name=f"{name}_running")
        m.d.comb += total.eq(add_with_carry(running, term, carry))
        with m.If(en & valid):
            m.d.sync += running.eq(total)
        with m.If(en & valid & last):
            m.d.sync += running.eq(0)
    with m.If(en & valid & last):
        m.d.sync += register.eq(total)


def add_with_carry(a, b, carry):
    """Sum of two numbers and, unless it is None, a bit, in a single carry chain."""
    if carry is None:
        return a + b
    return (a << 1 | 1) + (b << 1 | carry) >> 1
