"""Replies to the host: results and facts as packets with a CRC."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from xnorflow.boards.cobs import packet_layout
from xnorflow.boards.protocol import CRC_BYTES, Command, Info, Status
from xnorflow.boards.requests import request_layout
from xnorflow.hw.ops.argmax import result_layout


__all__ = ["CrcAppender", "ReplySender", "result_of"]


def result_of(info, score_bits):
    """Payload of a result of what is behind the link."""
    return result_layout(info.classes, score_bits, labelled=info.labelled)


class ReplySender(wiring.Component):
    """Answer requests.

    A request that is to be refused while a reply is on its way gets no answer: so noise on the
    line cannot stall the requests behind it.

    Parameters
    ----------
    info : :class:`Info`
        What to tell about the board.
    score_bits : :class:`int`
        Width of a score, two's complement.

    Members
    -------
    i_request : ``In(stream.Signature(request_layout))``
    i_result : ``In(stream.Signature(result_of(info, score_bits)))``
        Waited for when a frame is to be classified; taken when the reply has been sent.
    frame_sent : ``In(1)``
        High in the cycle in which a good frame's last word goes to the accelerator.
    o : ``Out(stream.Signature(packet_layout))``
    busy : ``Out(1)``
        An answer is being worked on.
    """

    def __init__(self, info: Info, *, score_bits: int):
        self.info = info
        super().__init__({
            "i_request": In(stream.Signature(request_layout)),
            "i_result": In(stream.Signature(result_of(info, score_bits))),
            "frame_sent": In(1),
            "o": Out(stream.Signature(packet_layout)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # No accelerator is so fast that its result comes in the first cycle after the frame.
        frame_sent = Signal()
        cycles = Signal(32)
        m.d.sync += frame_sent.eq(self.frame_sent)
        with m.If(frame_sent):
            m.d.sync += cycles.eq(2)
        with m.Elif(~self.i_result.valid):
            m.d.sync += cycles.eq(cycles + 1)

        # Everything that goes back, in words; the first byte of word 0 is not sent.
        request = Signal(request_layout)
        result = self.i_result.p
        scores = [result.scores[n] for n in range(self.info.classes)]
        label = [result.label] if self.info.labelled else []
        words = Array([Cat(C(0, 8), request), *label, cycles, *scores])
        body = self.info.pack()
        m.submodules.rom = rom = memory.Memory(
            shape=8, depth=4 + len(body), init=bytes(4) + body, attrs={"rom_style": "logic"}
        )
        read = rom.read_port(domain="comb")

        granted = Signal()
        info, classify = Signal(), Signal()
        position = Signal(range(max(4 * len(words), rom.depth)))
        final = Signal.like(position)
        word = Signal(32, reset_less=True)
        byte = Signal(8, reset_less=True)
        release = Signal()
        m.d.comb += [
            granted.eq(request.status == Status.OK),
            info.eq(granted & (request.command == Command.INFO)),
            classify.eq(granted & (request.command == Command.CLASSIFY)),
            read.addr.eq(position),
            final.eq(Mux(info, rom.depth - 1, Mux(classify, 4 * len(words) - 1, 3))),
            self.i_request.ready.eq(self.i_request.p.status != Status.OK),
            self.i_result.ready.eq(release),
            self.o.p.data.eq(byte),
        ]
        m.d.sync += [release.eq(0), word.eq(words[position[2:]])]

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("Idle"))
            with m.State("Idle"):
                m.d.comb += self.i_request.ready.eq(1)
                m.d.sync += [request.eq(self.i_request.p), position.eq(1)]
                with m.If(self.i_request.valid):
                    m.next = "Wait"
            with m.State("Wait"):
                with m.If(~classify | self.i_result.valid):
                    m.next = "Select"
            with m.State("Select"):
                m.next = "Fetch"
            with m.State("Fetch"):
                m.d.sync += byte.eq(word.word_select(position[:2], 8))
                with m.If(info & (position[2:] != 0)):
                    m.d.sync += byte.eq(read.data)
                m.next = "Send"
            with m.State("Send"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += position.eq(position + 1)
                    m.next = "Select"
                    with m.If(position == final):
                        m.next = "End"
            with m.State("End"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.end.eq(1)]
                with m.If(self.o.ready):
                    m.d.sync += release.eq(classify)
                    m.next = "Idle"

        return m


class CrcAppender(wiring.Component):
    """Put the CRC of a packet, high byte first, before its end.

    Latency is 1 cycle; a token can be taken in every other cycle.

    Members
    -------
    i : ``In(stream.Signature(packet_layout))``
    o : ``Out(stream.Signature(packet_layout))``
    """

    i: In(stream.Signature(packet_layout))
    o: Out(stream.Signature(packet_layout))

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC16_IBM_3740().create()

        appended = Signal(range(CRC_BYTES + 1))
        rest = Cat(crc.crc.word_select(n, 8) for n in reversed(range(CRC_BYTES)))
        append, taken = Signal(), Signal()
        m.d.comb += [
            append.eq(self.i.p.end & (appended != CRC_BYTES)),
            taken.eq(self.i.valid & ~self.o.valid),
            crc.data.eq(self.i.p.data),
            crc.valid.eq(taken & ~self.i.p.end),
            self.i.ready.eq(~self.o.valid & ~append),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(taken):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.p.data.eq(Mux(append, rest.word_select(appended, 8), self.i.p.data)),
                self.o.p.end.eq(self.i.p.end & ~append),
            ]
        with m.If(taken & append):
            m.d.sync += appended.eq(appended + 1)
        with m.Elif(taken & self.i.p.end):
            m.d.comb += crc.start.eq(1)
            m.d.sync += appended.eq(0)

        return m
