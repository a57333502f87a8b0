"""The host link: frames come in over a serial line, labels and scores go back.

    rx ─► UartReceiver ─► CobsDecoder ─► RequestReceiver ─► frames to the accelerator
                                               │ requests
    tx ◄─ UartTransmitter ◄─ CobsEncoder ◄─ CrcAppender ◄─ ReplySender ◄─ results

docs/link.md describes the packets.
"""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.boards.cobs import CobsDecoder, CobsEncoder, packet_layout, received_packet_layout
from xnorflow.boards.protocol import CRC_BYTES, Command, Info, Status, fingerprint
from xnorflow.boards.uart import UartReceiver, UartTransmitter
from xnorflow.frames import value_bytes
from xnorflow.hw.compile.accelerator import Accelerator
from xnorflow.hw.compile.design import Design
from xnorflow.hw.ops.argmax import result_layout
from xnorflow.hw.streams.guard import frame_layout
from xnorflow.hw.streams.words import value_shape


__all__ = [
    "CrcAppender",
    "Link",
    "LinkTop",
    "ReplySender",
    "RequestReceiver",
    "describe",
    "request_layout",
    "result_of",
]

request_layout = data.StructLayout({"sequence": 8, "command": 8, "status": Status})
"""A request, and whether it is to be granted."""


def result_of(info, score_bits):
    """Payload of a result of what is behind the link."""
    return result_layout(info.classes, score_bits, labelled=info.labelled)


class RequestReceiver(wiring.Component):
    """Take requests apart, and hand the frames in them on while they come in.

    A frame's last word is held back until the CRC behind it is checked. When something is wrong,
    a word with ``last`` and ``error`` follows what has been handed on already, which drops the
    frame. The request is delivered before the last word is.

    Parameters
    ----------
    info : :class:`Info`
        Shape of a frame.

    Members
    -------
    i : ``In(stream.Signature(received_packet_layout))``
    o_frame : ``Out(stream.Signature(frame_layout(value_shape(info.frame.type), info.lanes)))``
    o_request : ``Out(stream.Signature(request_layout))``
        One for every packet. Its sequence number is 0 when the packet had none.
    """

    def __init__(self, info: Info):
        self.info = info
        super().__init__({
            "i": In(stream.Signature(received_packet_layout)),
            "o_frame": Out(
                stream.Signature(frame_layout(value_shape(info.frame.type), info.lanes))
            ),
            "o_request": Out(stream.Signature(request_layout)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC16_IBM_3740().create()

        frame, lanes = self.info.frame, self.info.lanes
        pixel_bytes = value_bytes(frame.type)
        payload = frame.size * pixel_bytes
        header = 2
        longest = header + payload + CRC_BYTES
        sequence, command = Signal(8), Signal(8)
        status = Signal(Status)
        count = Signal(range(longest + 2))  # bytes so far; one more than the longest is enough
        part = Signal(range(lanes * pixel_bytes))  # of the word: a byte of a pixel
        last_byte = Signal()
        classify, granted = Signal(), Signal()
        partial = Signal()  # words of an unfinished frame have been handed on
        m.d.comb += [
            last_byte.eq(count == header + payload - 1),
            classify.eq(command == Command.CLASSIFY),
            granted.eq(status == Status.OK),
            crc.data.eq(self.i.p.data),
            self.o_request.p.sequence.eq(sequence),
            self.o_request.p.command.eq(command),
            self.o_request.p.status.eq(status),
        ]

        with m.If(self.o_frame.valid & self.o_frame.ready):
            m.d.sync += [self.o_frame.valid.eq(0), partial.eq(1)]

        with m.FSM():
            with m.State("Receive"):
                m.d.comb += self.i.ready.eq(~self.o_frame.valid)
                with m.If(self.i.valid & self.i.ready & self.i.p.end):
                    m.next = "Answer"
                with m.Elif(self.i.valid & self.i.ready):
                    m.d.comb += crc.valid.eq(1)
                    with m.If(count <= longest):
                        m.d.sync += count.eq(count + 1)
                    with m.If(count == 0):
                        m.d.sync += sequence.eq(self.i.p.data)
                    with m.Elif(count == 1):
                        m.d.sync += command.eq(self.i.p.data)
                    with m.Elif((count < header + payload) & classify):
                        m.d.sync += part.eq(part + 1)
                        # Spare lanes of the last word are zero.
                        for n, bits in enumerate(self._parts(pixel_bytes)):
                            with m.If(part == n):
                                m.d.sync += bits.eq(self.i.p.data)
                            with m.Elif(part == 0):
                                m.d.sync += bits.eq(0)
                        with m.If(part == lanes * pixel_bytes - 1):
                            m.d.sync += [part.eq(0), self.o_frame.valid.eq(~last_byte)]

                # The CRC of the last byte is there when the end comes, a cycle later or more.
                expected = Mux(classify, longest, header + CRC_BYTES)
                m.d.sync += status.eq(Status.OK)
                with m.If(self.i.p.error):
                    m.d.sync += status.eq(Status.BAD_FRAMING)
                with m.Elif(~crc.match_detected):
                    m.d.sync += status.eq(Status.BAD_CRC)
                with m.Elif(~classify & (command != Command.INFO)):
                    m.d.sync += status.eq(Status.UNKNOWN_COMMAND)
                with m.Elif(count != expected):
                    m.d.sync += status.eq(Status.BAD_LENGTH)
            with m.State("Answer"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.d.sync += [
                        self.o_frame.valid.eq(Mux(granted, classify, partial)),
                        self.o_frame.p.last.eq(1),
                        self.o_frame.p.error.eq(~granted),
                    ]
                    m.next = "Close"
            with m.State("Close"):
                with m.If(~self.o_frame.valid):
                    m.d.comb += crc.start.eq(1)
                    m.d.sync += [
                        Cat(sequence, command, count, part, partial).eq(0),
                        Cat(self.o_frame.p.last, self.o_frame.p.error).eq(0),
                    ]
                    m.next = "Receive"

        return m

    def _parts(self, pixel_bytes):
        """What each byte of a word is in its lanes; of a pixel's last one, some bits are spare."""
        data = self.o_frame.p.data.as_value()
        width = len(data) // self.info.lanes
        for lane in range(self.info.lanes):
            pixel = data[lane * width :][:width]
            for byte in range(pixel_bytes):
                yield pixel[8 * byte : 8 * byte + 8]


class ReplySender(wiring.Component):
    """Answer requests.

    A request that is to be refused while a reply is on its way gets no answer: so noise on the
    line cannot hold up the requests behind it.

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
        word = Signal(32)
        byte = Signal(8, reset_less=True)
        release = Signal()
        m.d.comb += [
            granted.eq(request.status == Status.OK),
            info.eq(granted & (request.command == Command.INFO)),
            classify.eq(granted & (request.command == Command.CLASSIFY)),
            word.eq(words[position[2:]]),
            read.addr.eq(position),
            final.eq(Mux(info, rom.depth - 1, Mux(classify, 4 * len(words) - 1, 3))),
            self.i_request.ready.eq(self.i_request.p.status != Status.OK),
            self.i_result.ready.eq(release),
            self.o.p.data.eq(byte),
        ]
        m.d.sync += release.eq(0)

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("Idle"))
            with m.State("Idle"):
                m.d.comb += self.i_request.ready.eq(1)
                m.d.sync += [request.eq(self.i_request.p), position.eq(1)]
                with m.If(self.i_request.valid):
                    m.next = "Wait"
            with m.State("Wait"):
                with m.If(~classify | self.i_result.valid):
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
                    m.next = "Fetch"
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

    Latency is 0 cycles.

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
            taken.eq(self.i.valid & self.o.ready),
            crc.data.eq(self.i.p.data),
            crc.valid.eq(taken & ~self.i.p.end),
            self.o.p.data.eq(Mux(append, rest.word_select(appended, 8), self.i.p.data)),
            self.o.p.end.eq(self.i.p.end & ~append),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & ~append),
        ]
        with m.If(taken & append):
            m.d.sync += appended.eq(appended + 1)
        with m.Elif(taken & self.i.p.end):
            m.d.comb += crc.start.eq(1)
            m.d.sync += appended.eq(0)

        return m


class Link(wiring.Component):
    """Serial line on one side, an accelerator's streams on the other.

    Whatever comes over the line, the next request between two zero bytes is answered. Requests
    are worked on one after the other; a byte that comes while there is no room for it is noticed
    as lost, and its packet refused.

    Parameters
    ----------
    info : :class:`Info`
        What is behind the link.
    score_bits : :class:`int`
        Width of a score, two's complement.
    divisor : :class:`int`
        Clock cycles a bit on the line.

    Members
    -------
    rx : ``In(1, init=1)``
        Line from the host.
    tx : ``Out(1, init=1)``
        Line to the host.
    o_frame : ``Out(stream.Signature(frame_layout(value_shape(info.frame.type), info.lanes)))``
    i_result : ``In(stream.Signature(result_of(info, score_bits)))``
    busy : ``Out(1)``
        An answer is being worked on.
    refused : ``Out(1)``
        The latest request was refused.

    Raises
    ------
    :exc:`ValueError`
        If the divisor is too small.
    """

    def __init__(self, info: Info, *, score_bits: int, divisor: int):
        self.info = info
        self.score_bits = score_bits
        self.receiver = UartReceiver(divisor)
        self.transmitter = UartTransmitter(divisor)
        pixel = value_shape(info.frame.type)
        super().__init__({
            "rx": In(1, init=1),
            "tx": Out(1, init=1),
            "o_frame": Out(stream.Signature(frame_layout(pixel, info.lanes))),
            "i_result": In(stream.Signature(result_of(info, score_bits))),
            "busy": Out(1),
            "refused": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self.receiver
        m.submodules.decoder = decoder = CobsDecoder()
        m.submodules.requests = requests = RequestReceiver(self.info)
        m.submodules.replies = replies = ReplySender(self.info, score_bits=self.score_bits)
        m.submodules.appender = appender = CrcAppender()
        m.submodules.encoder = encoder = CobsEncoder()
        m.submodules.transmitter = transmitter = self.transmitter

        connect(m, receiver.o, decoder.i)
        connect(m, decoder.o, requests.i)
        connect(m, requests.o_frame, flipped(self.o_frame))
        connect(m, requests.o_request, replies.i_request)
        connect(m, flipped(self.i_result), replies.i_result)
        connect(m, replies.o, appender.i)
        connect(m, appender.o, encoder.i)
        connect(m, encoder.o, transmitter.i)
        sent = self.o_frame.valid & self.o_frame.ready
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            replies.frame_sent.eq(sent & self.o_frame.p.last & ~self.o_frame.p.error),
            self.busy.eq(replies.busy),
        ]
        with m.If(requests.o_request.valid & requests.o_request.ready):
            m.d.sync += self.refused.eq(requests.o_request.p.status != Status.OK)

        return m


class LinkTop(wiring.Component):
    """An accelerator with its link: what a board carries, but for clock and pins.

    Parameters
    ----------
    design : :class:`Design`
    clock : :class:`int`
        Clock frequency in Hz.
    divisor : :class:`int`
        Clock cycles a bit on the line.

    Members
    -------
    rx : ``In(1, init=1)``
        Line from the host.
    tx : ``Out(1, init=1)``
        Line to the host.
    busy : ``Out(1)``
        A request is being worked on.
    refused : ``Out(1)``
        The latest request was refused.

    Raises
    ------
    :exc:`ValueError`
        If the divisor is too small.
    """

    def __init__(self, design: Design, *, clock: int, divisor: int):
        self.accelerator = Accelerator(design)
        self.link = Link(describe(design, clock), score_bits=design.score_bits, divisor=divisor)
        super().__init__({
            "rx": In(1, init=1),
            "tx": Out(1, init=1),
            "busy": Out(1),
            "refused": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = self.accelerator
        m.submodules.link = link = self.link
        connect(m, link.o_frame, self.accelerator.i)
        connect(m, self.accelerator.o, link.i_result)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.busy.eq(link.busy),
            self.refused.eq(link.refused),
        ]
        return m


def describe(design: Design, clock: int) -> Info:
    """Return what a board with ``design`` at ``clock`` Hz tells about itself."""
    return Info(
        frame=design.network.input,
        classes=design.classes,
        lanes=design.input_lanes,
        clock=clock,
        cycles_per_frame=design.cycles_per_frame,
        fingerprint=fingerprint(design.network),
        name=design.network.name,
        labelled=design.labelled,
    )
