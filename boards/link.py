"""The host link: frames come in over a serial line, labels and scores go back.

    rx ─► UartReceiver ─► CobsDecoder ─► RequestReceiver ─► frames to the accelerator
                                               │ requests
    tx ◄─ UartTransmitter ◄─ CobsEncoder ◄─ CrcAppender ◄─ ReplySender ◄─ results

docs/reference/link.md describes the packets.
"""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.boards.cobs import CobsDecoder, CobsEncoder
from xnorflow.boards.protocol import CRC_BYTES, Info, Status, fingerprint
from xnorflow.boards.replies import CrcAppender, ReplySender, result_of
from xnorflow.boards.requests import RequestReceiver
from xnorflow.boards.uart import UartReceiver, UartTransmitter
from xnorflow.hw.compile.accelerator import Accelerator
from xnorflow.hw.compile.design import Design
from xnorflow.hw.families.device import Device
from xnorflow.hw.streams.guard import frame_layout
from xnorflow.hw.streams.words import value_shape


__all__ = ["Link", "LinkTop", "describe", "tells_from_block_ram"]

_SMALL = 2000  # look-up tables of a device in which it pays to have the facts in a block RAM
_CYCLES = 4  # times the predicted latency; a latency that is not exact is predicted too low


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
    cycle_bits : :class:`int`
        Width of the counter of a frame's cycles, which stops at half of what it holds.
    block_ram : :class:`bool`
        Whether what the board tells is in a block RAM.

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

    def __init__(
        self,
        info: Info,
        *,
        score_bits: int,
        divisor: int,
        cycle_bits: int = 32,
        block_ram: bool = False,
    ):
        self.info = info
        self.score_bits = score_bits
        self.replies = ReplySender(
            info, score_bits=score_bits, cycle_bits=cycle_bits, block_ram=block_ram
        )
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
        m.submodules.replies = replies = self.replies
        m.submodules.appender = appender = CrcAppender()
        m.submodules.encoder = encoder = CobsEncoder(replies.longest + CRC_BYTES)
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
        self.link = Link(
            describe(design, clock),
            score_bits=design.score_bits,
            divisor=divisor,
            cycle_bits=min(32, (_CYCLES * design.latency).bit_length() + 1),
            block_ram=tells_from_block_ram(design.device),
        )
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


def tells_from_block_ram(device: Device) -> bool:
    """Whether what a board tells about itself is in a block RAM, which saves look-up tables."""
    return device.block_rams > 0 and device.luts < _SMALL


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
