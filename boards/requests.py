"""Requests of the host: packets that come in, and the frames in them."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from xnorflow.boards.cobs import received_packet_layout
from xnorflow.boards.protocol import CRC_BYTES, Command, Info, Status
from xnorflow.frames import value_bytes
from xnorflow.hw.streams.guard import frame_layout
from xnorflow.hw.streams.loading import load_layout
from xnorflow.hw.streams.words import value_shape


__all__ = ["RequestReceiver", "request_layout"]

request_layout = data.StructLayout({"sequence": 8, "command": 8, "status": Status})
"""A request, and whether it is to be granted."""


class RequestReceiver(wiring.Component):
    """Parse requests, and hand the frames in them on while they come in.

    A frame's last word is held back until the CRC behind it is checked. When something is wrong,
    a word with ``last`` and ``error`` follows what has been handed on already, which drops the
    frame. The request is delivered before the last word is.

    Parameters
    ----------
    info : :class:`Info`
        Shape of a frame.
    load_bytes : :class:`int`, optional
        Bytes of a load, if other weights can be loaded.

    Members
    -------
    i : ``In(stream.Signature(received_packet_layout))``
    o_frame : ``Out(stream.Signature(frame_layout(value_shape(info.frame.type), info.lanes)))``
    o_request : ``Out(stream.Signature(request_layout))``
        One for every packet. Its sequence number is 0 when the packet had none.
    o_load : ``Out(stream.Signature(load_layout))``
        Loads, if there are any: what ends early ends with a byte more.
    weights_valid, load_busy, load_failed : ``In(1)``
        The same: as for an `Accelerator`.
    """

    def __init__(self, info: Info, *, load_bytes: int | None = None):
        self.info = info
        self.load_bytes = load_bytes
        loads = {"o_load": Out(stream.Signature(load_layout))}
        loads |= {"weights_valid": In(1), "load_busy": In(1), "load_failed": In(1)}
        super().__init__({
            **(loads if load_bytes is not None else {}),
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
        framed = header + payload + CRC_BYTES
        longest = max(framed, header + (self.load_bytes or 0) + CRC_BYTES)
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

        takes, closed, forwards = ~self.o_frame.valid, ~self.o_frame.valid, classify
        lengths = {}  # of packets with commands about weights
        with m.FSM() as fsm:
            if self.load_bytes is not None:
                waits, begun = self._load(m, fsm, command, count, header)
                takes, closed = takes & ~waits, closed & ~begun
                forwards = classify & self.weights_valid
                lengths = {
                    Command.LOAD: header + self.load_bytes + CRC_BYTES,
                    Command.WEIGHTS: header + CRC_BYTES,
                }
            with m.State("Receive"):
                m.d.comb += self.i.ready.eq(takes)
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
                    with m.Elif((count < header + payload) & forwards):
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
                expected = Mux(classify, framed, header + CRC_BYTES)
                unknown = ~classify & (command != Command.INFO)
                for other, length in lengths.items():
                    unknown &= command != other
                    expected = Mux(command == other, length, expected)
                m.d.sync += status.eq(Status.OK)
                with m.If(self.i.p.error):
                    m.d.sync += status.eq(Status.BAD_FRAMING)
                with m.Elif(~crc.match_detected):
                    m.d.sync += status.eq(Status.BAD_CRC)
                with m.Elif(unknown):
                    m.d.sync += status.eq(Status.UNKNOWN_COMMAND)
                with m.Elif(count != expected):
                    m.d.sync += status.eq(Status.BAD_LENGTH)
                if self.load_bytes is not None:
                    with m.Elif(classify & ~self.weights_valid):
                        m.d.sync += status.eq(Status.NO_WEIGHTS)
                    with m.Elif((command == Command.LOAD) & self.load_failed):
                        m.d.sync += status.eq(Status.BAD_WEIGHTS)
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
                with m.If(closed):
                    m.d.comb += crc.start.eq(1)
                    m.d.sync += [
                        Cat(sequence, command, count, part, partial).eq(0),
                        Cat(self.o_frame.p.last, self.o_frame.p.error).eq(0),
                    ]
                    m.next = "Receive"

        return m

    def _load(self, m, fsm, command, count, begin):
        """Hand a load on; what has ended early is ended when its packet has been answered.

        Gives whether the byte that comes in has to wait, and whether a load has not ended.
        """
        load, end = self.o_load, begin + self.load_bytes
        inside, begun = Signal(), Signal()
        closes = begun & fsm.ongoing("Close")
        m.d.comb += [
            inside.eq((command == Command.LOAD) & (count >= begin) & (count < end) & ~self.i.p.end),
            load.p.data.eq(self.i.p.data),
            load.p.last.eq(closes | (count == end - 1)),
            load.valid.eq(closes | (fsm.ongoing("Receive") & self.i.valid & inside)),
        ]
        m.d.sync += begun.eq(Mux(load.valid & load.ready, ~load.p.last, begun))
        return (inside & ~load.ready) | (self.i.p.end & self.load_busy), begun

    def _parts(self, pixel_bytes):
        """Bits of the lanes for each byte of a word; of a pixel's last one, some bits are spare."""
        data = self.o_frame.p.data.as_value()
        width = len(data) // self.info.lanes
        for lane in range(self.info.lanes):
            pixel = data[lane * width :][:width]
            for byte in range(pixel_bytes):
                yield pixel[8 * byte : 8 * byte + 8]
