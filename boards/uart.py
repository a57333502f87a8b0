"""Asynchronous serial line, 8N1: eight data bits, lowest first, no parity, one stop bit."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out


__all__ = ["MIN_DIVISOR", "UartReceiver", "UartTransmitter", "received_byte_layout"]

MIN_DIVISOR = 4
"""Fewest clock cycles a bit with which the receiver samples near the middle of each bit."""

received_byte_layout = data.StructLayout({"data": 8, "lost": 1})
"""A byte from the line; ``lost`` says that bytes before it were lost."""


class UartReceiver(wiring.Component):
    """Receive bytes.

    A byte is delivered in the middle of its stop bit. Bytes get lost when they have no stop bit,
    as in a break, and when the byte before has not been taken yet; the next one says so.

    Parameters
    ----------
    divisor : :class:`int`
        Clock cycles a bit, at least ``MIN_DIVISOR``.

    Members
    -------
    rx : ``In(1, init=1)``
        The line. May be asynchronous to the clock.
    o : ``Out(stream.Signature(received_byte_layout))``

    Raises
    ------
    :exc:`ValueError`
        If the divisor is too small.
    """

    def __init__(self, divisor):
        _check_divisor(divisor)
        self.divisor = divisor
        super().__init__({
            "rx": In(1, init=1),
            "o": Out(stream.Signature(received_byte_layout)),
        })

    def elaborate(self, platform):
        m = Module()

        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)

        timer = Signal(range(self.divisor))
        sample = Signal()
        bits = Signal(8, reset_less=True)
        count = Signal(range(8))
        lost = Signal()
        m.d.comb += sample.eq(timer == 0)
        m.d.sync += timer.eq(Mux(sample, self.divisor - 1, timer - 1))

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        with m.FSM():
            with m.State("Idle"):
                m.d.sync += timer.eq(self.divisor // 2 - 1)
                with m.If(~line):
                    m.next = "Start"
            with m.State("Start"):
                with m.If(sample):
                    # A pulse shorter than half a bit is noise.
                    m.next = "Idle"
                    with m.If(~line):
                        m.next = "Data"
            with m.State("Data"):
                with m.If(sample):
                    m.d.sync += [bits.eq(Cat(bits[1:], line)), count.eq(count + 1)]
                    with m.If(count == 7):
                        m.next = "Stop"
            with m.State("Stop"):
                with m.If(sample):
                    m.next = "Idle"
                    with m.If(~line):
                        m.d.sync += lost.eq(1)
                        m.next = "Break"
                    with m.Elif(self.o.valid & ~self.o.ready):
                        m.d.sync += lost.eq(1)
                    with m.Else():
                        m.d.sync += [
                            self.o.valid.eq(1),
                            self.o.p.data.eq(bits),
                            self.o.p.lost.eq(lost),
                            lost.eq(0),
                        ]
            with m.State("Break"):
                with m.If(line):
                    m.next = "Idle"

        return m


class UartTransmitter(wiring.Component):
    """Send bytes, without a gap as long as they are there in time.

    Parameters
    ----------
    divisor : :class:`int`
        Clock cycles a bit, at least ``MIN_DIVISOR``.

    Members
    -------
    i : ``In(stream.Signature(8))``
    tx : ``Out(1, init=1)``
        The line.

    Raises
    ------
    :exc:`ValueError`
        If the divisor is too small.
    """

    def __init__(self, divisor):
        _check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()

        timer = Signal(range(self.divisor))
        bits = Signal(10, init=0b1)  # bits to send, the next one lowest; a 1 alone: nothing to send
        idle = Signal()
        m.d.comb += [
            idle.eq(bits == 0b1),
            self.tx.eq(bits[0]),
        ]

        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(idle):
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid):
                m.d.sync += [
                    bits.eq(Cat(C(0, 1), self.i.payload, C(1, 1))),
                    timer.eq(self.divisor - 1),
                ]
        with m.Else():
            m.d.sync += [bits.eq(bits >> 1), timer.eq(self.divisor - 1)]

        return m


def _check_divisor(divisor):
    if divisor < MIN_DIVISOR:
        raise ValueError(
            f"Divisor of a serial line must be at least {MIN_DIVISOR}, not {divisor!r}"
        )
