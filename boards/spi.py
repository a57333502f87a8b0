"""SPI peripheral, mode 0: bytes both ways, the highest bit first, at the controller's pace.

Its pins are sampled in the clock domain, so that the serial clock needs none of its own.
"""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from xnorflow.boards.uart import received_byte_layout


__all__ = ["MIN_RATIO", "PacketBuffer", "SpiPeripheral"]

MIN_RATIO = 4
"""Fewest clock cycles of a period of the serial clock, half of which it is high."""


class SpiPeripheral(wiring.Component):
    """Exchange bytes with a controller: one comes while one goes, 0 if there is none to send.

    A byte is delivered when its last bit has come. Bytes get lost when the byte before has not
    been taken yet, and when the controller lets ``cs`` go in mid-byte; the next one says so.
    After a reset it waits until it is not selected.

    The bit for the controller's next edge follows this one by up to three clock cycles, so the
    first edge may come no sooner than a period of the serial clock after ``cs``.

    Members
    -------
    cs : ``In(1)``
        Selected by the controller. High when active; may, like the other inputs, be asynchronous.
    sck, copi : ``In(1)``
    cipo : ``Out(1)``
    i : ``In(stream.Signature(8))``
        Bytes to send.
    o : ``Out(stream.Signature(received_byte_layout))``
    """

    cs: In(1)
    sck: In(1)
    copi: In(1)
    cipo: Out(1)
    i: In(stream.Signature(8))
    o: Out(stream.Signature(received_byte_layout))

    def elaborate(self, platform):
        m = Module()

        cs, sck, copi = Signal(init=1), Signal(), Signal()
        m.submodules.cs = FFSynchronizer(self.cs, cs, init=1)
        m.submodules.sck = FFSynchronizer(self.sck, sck)
        m.submodules.copi = FFSynchronizer(self.copi, copi)

        before = Signal()
        aligned = Signal()  # not in the midst of what was going on at a reset
        edge, count = Signal(), Signal(range(8))
        bits = Signal(8, reset_less=True)  # what comes moves in below what goes
        following, full = Signal(8, reset_less=True), Signal()  # the byte to send next
        loaded = Signal()  # bits hold it
        lost = Signal()
        m.d.sync += [before.eq(sck), aligned.eq(aligned | ~cs)]
        m.d.comb += [
            edge.eq(sck & ~before & cs & aligned),
            self.cipo.eq(bits[-1]),
            self.i.ready.eq(~full),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(edge):
            m.d.sync += [bits.eq(Cat(copi, bits[:-1])), count.eq(count + 1)]
        with m.If(edge & (count == 7)):
            with m.If(self.o.valid & ~self.o.ready):
                m.d.sync += lost.eq(1)
            with m.Else():
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.p.data.eq(Cat(copi, bits[:-1])),
                    self.o.p.lost.eq(lost),
                    lost.eq(0),
                ]
        with m.If(~cs):
            m.d.sync += [count.eq(0), lost.eq(lost | (count != 0))]
        with m.If(~cs | (edge & (count == 7))):
            m.d.sync += [bits.eq(following & full.replicate(8)), loaded.eq(full)]
        with m.If(edge & (count == 0) & loaded):
            m.d.sync += full.eq(0)
        with m.If(self.i.valid & ~full):
            m.d.sync += [following.eq(self.i.payload), full.eq(1)]

        return m


class PacketBuffer(wiring.Component):
    """Hold a packet back until it is complete, so that no gap comes in it.

    The line of an SPI controller does not wait: what it reads in a gap would be a delimiter.

    Parameters
    ----------
    depth : :class:`int`
        Most bytes of a packet, its delimiters among them.

    Members
    -------
    i : ``In(stream.Signature(8))``
        Packets, a zero before and behind each.
    o : ``Out(stream.Signature(8))``
        The same. After a byte, the next one is there in two cycles.

    Raises
    ------
    :exc:`ValueError`
        If the depth is too small.
    """

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def __init__(self, depth: int):
        if depth < 3:
            raise ValueError(f"Depth of a packet buffer must be at least 3, not {depth!r}")
        self.depth = depth
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.packet = packet = memory.Memory(shape=8, depth=self.depth, init=[])
        write, read = packet.write_port(), packet.read_port()
        filled, index = Signal(range(self.depth + 1)), Signal(range(self.depth + 1))
        begun = Signal()  # behind the first delimiter
        m.d.comb += [
            write.addr.eq(filled),
            write.data.eq(self.i.payload),
            read.addr.eq(index),
            read.en.eq(0),
            self.o.payload.eq(read.data),
        ]

        with m.FSM():
            with m.State("Fill"):
                m.d.comb += [self.i.ready.eq(1), write.en.eq(self.i.valid)]
                m.d.sync += index.eq(0)
                with m.If(self.i.valid):
                    m.d.sync += [filled.eq(filled + 1), begun.eq(self.i.payload != 0)]
                    with m.If(begun & (self.i.payload == 0)):
                        m.next = "Fetch"
            with m.State("Fetch"):
                m.d.comb += read.en.eq(1)
                m.d.sync += index.eq(index + 1)
                m.next = "Send"
            with m.State("Send"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready & (index == filled)):
                    m.d.sync += filled.eq(0)
                    m.next = "Fill"
                with m.Elif(self.o.ready):
                    m.next = "Fetch"

        return m
