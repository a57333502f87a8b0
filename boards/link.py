"""The host link: frames come in over a serial line, labels and scores go back.

    rx ─► UartReceiver ─► CobsDecoder ─► RequestReceiver ─► frames to the accelerator
                                               │ requests
    tx ◄─ UartTransmitter ◄─ CobsEncoder ◄─ CrcAppender ◄─ ReplySender ◄─ results

docs/reference/link.md describes the packets. In place of the UART's, there are the pins of an SPI
peripheral, which sends a packet only when it is complete.
"""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.boards.cobs import CobsDecoder, CobsEncoder, encoded_size
from xnorflow.boards.line import Line
from xnorflow.boards.protocol import CRC_BYTES, Info, Status, fingerprint
from xnorflow.boards.replies import CrcAppender, ReplySender, result_of
from xnorflow.boards.requests import RequestReceiver
from xnorflow.boards.spi import PacketBuffer, SpiPeripheral
from xnorflow.boards.uart import UartReceiver, UartTransmitter
from xnorflow.hw.compile.accelerator import Accelerator
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.weights import load_image
from xnorflow.hw.families.device import Device
from xnorflow.hw.streams.guard import frame_layout
from xnorflow.hw.streams.loading import DIGEST_BYTES, load_layout
from xnorflow.hw.streams.words import value_shape


__all__ = ["Link", "LinkTop", "describe", "tells_from_block_ram"]

_SMALL = 2000  # look-up tables of a device in which it pays to have the facts in a block RAM
_PINS = {
    Line.UART: {"rx": In(1, init=1), "tx": Out(1, init=1)},
    Line.SPI: {"cs": In(1), "sck": In(1), "copi": In(1), "cipo": Out(1)},
}

_CYCLES = 4  # times the predicted latency; a latency that is not exact is predicted too low

_LOAD_PORTS = {
    "o_load": Out(stream.Signature(load_layout)),
    "weights_valid": In(1),
    "load_busy": In(1),
    "load_failed": In(1),
    "weights_crc": In(32),
}


class Link(wiring.Component):
    """A line to a host on one side, an accelerator's streams on the other.

    Whatever comes over the line, the next request between two zero bytes is answered. Requests
    are worked on one after the other; a byte that comes while there is no room for it is noticed
    as lost, and its packet refused.

    Parameters
    ----------
    info : :class:`Info`
        What is behind the link.
    score_bits : :class:`int`
        Width of a score, two's complement.
    divisor : :class:`int`, optional
        Clock cycles a bit on the serial line; the pins are those of an SPI peripheral without.
    cycle_bits : :class:`int`
        Width of the counter of a frame's cycles, which stops at half of what it holds.
    block_ram : :class:`bool`
        Whether what the board tells is in a block RAM.
    load : :class:`bytes`, optional
        A load of the accelerator, if it takes any.

    Members
    -------
    rx : ``In(1, init=1)``
        Serial line from the host.
    tx : ``Out(1, init=1)``
        Serial line to the host.
    cs, sck, copi : ``In(1)``, cipo : ``Out(1)``
        Those of an `SpiPeripheral`, in their place.
    o_load, weights_valid, load_busy, load_failed, weights_crc
        If it takes loads: as for an `Accelerator`.
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
        divisor: int | None = None,
        cycle_bits: int = 32,
        block_ram: bool = False,
        load: bytes | None = None,
    ):
        self.info = info
        self.load = load
        self.score_bits = score_bits
        self.replies = ReplySender(
            info,
            score_bits=score_bits,
            cycle_bits=cycle_bits,
            block_ram=block_ram,
            digest=None if load is None else load[:DIGEST_BYTES],
        )
        self.line = Line.SPI if divisor is None else Line.UART
        if divisor is not None:
            self.receiver = UartReceiver(divisor)
            self.transmitter = UartTransmitter(divisor)
        pixel = value_shape(info.frame.type)
        super().__init__({
            **(_LOAD_PORTS if load is not None else {}),
            **_PINS[self.line],
            "o_frame": Out(stream.Signature(frame_layout(pixel, info.lanes))),
            "i_result": In(stream.Signature(result_of(info, score_bits))),
            "busy": Out(1),
            "refused": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = CobsDecoder()
        load_bytes = None if self.load is None else len(self.load)
        m.submodules.requests = requests = RequestReceiver(self.info, load_bytes=load_bytes)
        m.submodules.replies = replies = self.replies
        m.submodules.appender = appender = CrcAppender()
        m.submodules.encoder = encoder = CobsEncoder(replies.longest + CRC_BYTES)

        if self.line is Line.UART:
            self._connect_uart(m, decoder, encoder)
        else:
            self._connect_spi(m, decoder, encoder)
        connect(m, decoder.o, requests.i)
        connect(m, requests.o_frame, flipped(self.o_frame))
        connect(m, requests.o_request, replies.i_request)
        connect(m, flipped(self.i_result), replies.i_result)
        connect(m, replies.o, appender.i)
        connect(m, appender.o, encoder.i)
        sent = self.o_frame.valid & self.o_frame.ready
        m.d.comb += [
            replies.frame_sent.eq(sent & self.o_frame.p.last & ~self.o_frame.p.error),
        ]
        # A load is read back before it gets a reply.
        m.d.comb += self.busy.eq(replies.busy | (0 if self.load is None else self.load_busy))
        if self.load is not None:
            connect(m, requests.o_load, flipped(self.o_load))
            m.d.comb += [
                requests.weights_valid.eq(self.weights_valid),
                requests.load_busy.eq(self.load_busy),
                requests.load_failed.eq(self.load_failed),
                replies.weights_valid.eq(self.weights_valid),
                replies.weights_crc.eq(self.weights_crc),
            ]
        with m.If(requests.o_request.valid & requests.o_request.ready):
            m.d.sync += self.refused.eq(requests.o_request.p.status != Status.OK)

        return m

    def _connect_uart(self, m, decoder, encoder):
        m.submodules.receiver = receiver = self.receiver
        m.submodules.transmitter = transmitter = self.transmitter
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        connect(m, receiver.o, decoder.i)
        connect(m, encoder.o, transmitter.i)

    def _connect_spi(self, m, decoder, encoder):
        content = self.replies.longest + CRC_BYTES
        m.submodules.peripheral = peripheral = SpiPeripheral()
        m.submodules.packet = packet = PacketBuffer(encoded_size(content) + 2)
        m.d.comb += [
            peripheral.cs.eq(self.cs),
            peripheral.sck.eq(self.sck),
            peripheral.copi.eq(self.copi),
            self.cipo.eq(peripheral.cipo),
        ]
        connect(m, peripheral.o, decoder.i)
        connect(m, encoder.o, packet.i)
        connect(m, packet.o, peripheral.i)


class LinkTop(wiring.Component):
    """An accelerator with its link: what a board carries, but for clock and pins.

    Parameters
    ----------
    design : :class:`Design`
    clock : :class:`int`
        Clock frequency in Hz.
    divisor : :class:`int`, optional
        Clock cycles a bit on the serial line; the pins are those of an SPI peripheral without.

    Members
    -------
    rx, tx, or cs, sck, copi, cipo
        Those of a `Link`.
    busy : ``Out(1)``
        A request is being worked on.
    refused : ``Out(1)``
        The latest request was refused.

    Raises
    ------
    :exc:`ValueError`
        If the divisor is too small.
    """

    def __init__(self, design: Design, *, clock: int, divisor: int | None = None):
        self.accelerator = Accelerator(design)
        self._load = load_image(design) if design.device.runtime_weights else None
        self.link = Link(
            describe(design, clock),
            score_bits=design.score_bits,
            divisor=divisor,
            cycle_bits=min(32, (_CYCLES * design.latency).bit_length() + 1),
            block_ram=tells_from_block_ram(design.device),
            load=self._load,
        )
        super().__init__({
            **_PINS[self.link.line],
            "busy": Out(1),
            "refused": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = self.accelerator
        m.submodules.link = link = self.link
        connect(m, link.o_frame, self.accelerator.i)
        connect(m, self.accelerator.o, link.i_result)
        for name, pin in _PINS[link.line].items():
            outer, inner = getattr(self, name), getattr(link, name)
            m.d.comb += inner.eq(outer) if pin.flow is In else outer.eq(inner)
        if self._load is not None:
            connect(m, link.o_load, self.accelerator.i_load)
            m.d.comb += [
                link.weights_valid.eq(self.accelerator.weights_valid),
                link.load_busy.eq(self.accelerator.load_busy),
                link.load_failed.eq(self.accelerator.load_failed),
                link.weights_crc.eq(self.accelerator.weights_crc),
            ]
        m.d.comb += [
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
        runtime_weights=design.device.runtime_weights,
    )
