"""Consistent-overhead byte stuffing (COBS): packets of any bytes between zero bytes.

A packet is a sequence of tokens: its bytes, then an end that carries no byte.

Source: Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999.
"""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.boards.uart import received_byte_layout


__all__ = [
    "CobsDecoder",
    "CobsEncoder",
    "encoded_size",
    "packet_layout",
    "received_packet_layout",
]

_BLOCK = 254  # most bytes in a block

packet_layout = data.StructLayout({"data": 8, "end": 1})
"""A byte of a packet, or its end."""

received_packet_layout = data.StructLayout({"data": 8, "end": 1, "error": 1})
"""A byte of a packet, or its end; ``error`` beside the end says that the packet is damaged."""


class CobsDecoder(wiring.Component):
    """Turn bytes from the line into packets.

    A zero ends a packet; where there was nothing before it, it is ignored. Of a damaged packet,
    nothing is delivered after the damage but its end. Latency is 1 cycle; a byte can be taken in
    every other cycle.

    Members
    -------
    i : ``In(stream.Signature(received_byte_layout))``
    o : ``Out(stream.Signature(received_packet_layout))``
    """

    i: In(stream.Signature(received_byte_layout))
    o: Out(stream.Signature(received_packet_layout))

    def elaborate(self, platform):
        m = Module()

        left = Signal(8)  # 1 when the next byte is a code, one more for each byte before it
        zero = Signal()  # whether that code stands for a zero
        delimiter = Signal()
        m.d.comb += [delimiter.eq(self.i.p.data == 0), self.i.ready.eq(~self.o.valid)]

        def deliver(data):
            m.d.sync += [self.o.valid.eq(1), self.o.p.data.eq(data), self.o.p.end.eq(0)]

        def end(error):
            m.d.sync += [self.o.valid.eq(1), self.o.p.end.eq(1), self.o.p.error.eq(error)]

        def start_block():
            m.d.sync += [left.eq(self.i.p.data), zero.eq(self.i.p.data != _BLOCK + 1)]

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        with m.FSM():
            with m.State("Between"):
                with m.If(self.i.valid & self.i.ready):
                    with m.If(self.i.p.lost & delimiter):
                        end(error=1)
                    with m.Elif(self.i.p.lost):
                        m.next = "Damaged"
                    with m.Elif(~delimiter):
                        start_block()
                        m.next = "Inside"
            with m.State("Inside"):
                with m.If(self.i.valid & self.i.ready):
                    with m.If(delimiter):
                        end(error=self.i.p.lost | (left != 1))
                        m.next = "Between"
                    with m.Elif(self.i.p.lost):
                        m.next = "Damaged"
                    with m.Elif(left != 1):
                        deliver(self.i.p.data)
                        m.d.sync += left.eq(left - 1)
                    with m.Else():
                        with m.If(zero):
                            deliver(0)
                        start_block()
            with m.State("Damaged"):
                with m.If(self.i.valid & self.i.ready & delimiter):
                    end(error=1)
                    m.next = "Between"

        return m


class CobsEncoder(wiring.Component):
    """Turn packets into bytes for the line: a zero, the encoded packet, a zero.

    A block of up to 254 bytes is collected before it is sent, because its length comes first.

    Parameters
    ----------
    longest : :class:`int`, optional
        Most bytes of a packet, if that is known; fewer than a block has take less logic.

    Members
    -------
    i : ``In(stream.Signature(packet_layout))``
    o : ``Out(stream.Signature(8))``
    """

    i: In(stream.Signature(packet_layout))
    o: Out(stream.Signature(8))

    def __init__(self, longest: int = _BLOCK):
        self._longest = min(longest, _BLOCK)
        super().__init__()

    def elaborate(self, platform):
        m = Module()

        m.submodules.block = block = memory.Memory(shape=8, depth=256, init=[])
        write, read = block.write_port(), block.read_port()
        code = Signal(range(self._longest + 2), init=1)  # bytes in the block, and one more
        index = Signal.like(code, init=0)  # of the next byte to send; the first one has 1
        byte = Signal(8, reset_less=True)  # block RAMs are slow: a register splits the path
        ended = Signal()
        m.d.comb += [
            write.addr.eq(code),
            write.data.eq(self.i.p.data),
            read.addr.eq(index),
            read.en.eq(~write.en),  # never both, which saves the logic for collisions
            self.o.payload.eq(byte),
        ]

        def send(then):
            m.d.comb += self.o.valid.eq(1)
            with m.If(self.o.ready):
                m.next = then

        with m.FSM():
            with m.State("Idle"):
                m.d.sync += byte.eq(0)
                with m.If(self.i.valid):
                    m.next = "Open"
            with m.State("Open"):
                send(then="Collect")
            with m.State("Collect"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [index.eq(1), ended.eq(self.i.p.end)]
                with m.If(self.i.valid):
                    with m.If(self.i.p.end | (self.i.p.data == 0)):
                        m.next = "Code"
                    with m.Else():
                        m.d.comb += write.en.eq(1)
                        m.d.sync += code.eq(code + 1)
                        if self._longest == _BLOCK:
                            with m.If(code == _BLOCK):
                                m.next = "Code"
            with m.State("Code"):
                m.d.sync += byte.eq(code)
                m.next = "Send"
            with m.State("Send"):
                send(then="Fetch")
            with m.State("Fetch"):
                m.next = "Load"
                with m.If(index == code):
                    m.d.sync += code.eq(1)
                    m.next = "Collect"
                    with m.If(ended):
                        m.d.sync += byte.eq(0)
                        m.next = "Close"
            with m.State("Load"):
                m.d.sync += [byte.eq(read.data), index.eq(index + 1)]
                m.next = "Send"
            with m.State("Close"):
                send(then="Idle")

        return m


def encoded_size(content: int) -> int:
    """Return how many bytes an encoded packet of so many has at most, without delimiters."""
    return content + content // _BLOCK + 1
