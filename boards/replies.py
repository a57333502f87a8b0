"""Replies to the host: results and facts as packets with a CRC."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.boards.cobs import packet_layout
from xnorflow.boards.protocol import CRC_BYTES, Command, Info, Status
from xnorflow.boards.requests import request_layout
from xnorflow.hw.ops.argmax import result_layout


__all__ = ["CrcAppender", "ReplySender", "result_of"]


_FACTS = 3
"""Of what a board is loaded with: digest, CRC, and whether it is valid."""


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
    cycle_bits : :class:`int`
        Width of the counter of a frame's cycles, which stops at half of what it holds.
    block_ram : :class:`bool`
        Whether what it tells is in a block RAM.
    digest : :class:`bytes`, optional
        Of the design's shape, if other weights can be loaded.

    Attributes
    ----------
    longest : :class:`int`
        Most bytes of a reply, without its CRC.

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
    weights_valid, weights_crc
        If other weights can be loaded: those of an `Accelerator`.
    """

    def __init__(
        self,
        info: Info,
        *,
        score_bits: int,
        cycle_bits: int = 32,
        block_ram=False,
        digest: bytes | None = None,
    ):
        self.info = info
        self.score_bits = score_bits
        self.cycle_bits = cycle_bits
        self.block_ram = block_ram
        words = info.labelled + 1 + info.classes
        self.digest = digest
        weights = {} if digest is None else {"weights_valid": In(1), "weights_crc": In(32)}
        self.longest = 3 + max(len(info.pack()), 4 * words, 0 if digest is None else 4 * _FACTS)
        super().__init__({
            **weights,
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
        cycles = Signal(self.cycle_bits)
        m.d.sync += frame_sent.eq(self.frame_sent)
        with m.If(frame_sent):
            m.d.sync += cycles.eq(2)
        with m.Elif(~self.i_result.valid & ~cycles[-1]):
            m.d.sync += cycles.eq(cycles + 1)

        # What goes back, in words of four bytes: the request without its first byte, then facts or
        # numbers, the scores behind the others.
        request, result = self.i_request.p, self.i_result.p
        rest = Signal(request_layout.size)  # of the request
        numbers = [*([result.label] if self.info.labelled else []), cycles]
        scores = [result.scores[n] for n in range(self.info.classes)]
        body = self.info.pack()
        m.submodules.rom = rom = memory.Memory(
            shape=8,
            depth=4 + len(body),
            init=bytes(4) + body,
            attrs={"rom_style": "block" if self.block_ram else "logic"},
        )
        read = rom.read_port()

        granted = Signal()
        info, classify, weights = Signal(), Signal(), Signal()
        words = 1 + len(numbers) + len(scores)
        position = Signal(range(max(4 * words, rom.depth)))
        final = Signal.like(position)
        score = Signal(signed(self.score_bits), reset_less=True)
        byte = Signal(8, reset_less=True)
        header, release = Signal(), Signal()
        m.d.comb += [
            granted.eq(request.status == Status.OK),
            header.eq(position[2:] == 0),
            read.addr.eq(position),
            final.eq(Mux(info, rom.depth - 1, Mux(classify, 4 * words - 1, 3))),
            self.i_request.ready.eq(~granted),
            self.i_result.ready.eq(release),
            self.o.p.data.eq(byte),
        ]
        m.d.sync += [
            release.eq(0),
            score.eq(_select([*scores[:1] * (words - len(scores)), *scores], position[2:])),
        ]

        loads, facts = self.digest is not None, []
        if loads:
            digest = Const(int.from_bytes(self.digest, "little"), 32)
            facts = [digest, self.weights_crc, self.weights_valid]
            with m.If(weights):
                m.d.comb += final.eq(3 + 4 * _FACTS)

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("Idle"))
            with m.State("Idle"):
                m.d.comb += self.i_request.ready.eq(1)
                m.d.sync += [
                    rest.eq(request),
                    info.eq(granted & (request.command == Command.INFO)),
                    classify.eq(granted & (request.command == Command.CLASSIFY)),
                    weights.eq(loads & granted & (request.command == Command.WEIGHTS)),
                    position.eq(1),
                ]
                with m.If(self.i_request.valid):
                    m.next = "Fetch"
            with m.State("Select"):
                with m.If(header | info | weights | self.i_result.valid):
                    m.next = "Fetch"
            with m.State("Fetch"):
                m.d.sync += byte.eq(_byte(score, position[:2]))
                for n, number in enumerate(numbers, 1):
                    with m.If(position[2:] == n):
                        m.d.sync += byte.eq(_byte(number, position[:2]))
                with m.If(weights):
                    for n, fact in enumerate(facts, 1):
                        with m.If(position[2:] == n):
                            m.d.sync += byte.eq(_byte(fact, position[:2]))
                with m.If(info):
                    m.d.sync += byte.eq(read.data)
                with m.If(header):
                    m.d.sync += [byte.eq(rest[:8]), rest.eq(rest[8:])]
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

    It works on a bit in a clock cycle; a token can be taken in every ninth.

    Members
    -------
    i : ``In(stream.Signature(packet_layout))``
    o : ``Out(stream.Signature(packet_layout))``
    """

    i: In(stream.Signature(packet_layout))
    o: Out(stream.Signature(packet_layout))

    def elaborate(self, platform):
        m = Module()
        crc = Signal(8 * CRC_BYTES, init=-1)
        bit = Signal(range(9))  # of the token, a byte's highest one first; then it is handed on
        appended = Signal(range(CRC_BYTES + 1))
        append, top, feedback = Signal(), Signal(), Signal()
        m.d.comb += [
            append.eq(self.i.p.end & (appended != CRC_BYTES)),
            # Behind the bytes the register rotates: its low byte is what was on top.
            top.eq(crc[-1] ^ (self.i.p.data[::-1].bit_select(bit[:3], 1) & ~self.i.p.end)),
            feedback.eq(top & ~self.i.p.end),
            self.o.valid.eq(self.i.valid & bit[3]),
            self.o.p.data.eq(Mux(self.i.p.end, crc[:8], self.i.p.data)),
            self.o.p.end.eq(self.i.p.end & ~append),
            self.i.ready.eq(self.o.ready & bit[3] & ~append),
        ]
        with m.If(self.i.valid & ~bit[3]):
            shifted = Cat(top, crc[:-1])
            m.d.sync += [bit.eq(bit + 1), crc.eq(shifted ^ (feedback << 5) ^ (feedback << 12))]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += bit.eq(0)
            with m.If(append):
                m.d.sync += appended.eq(appended + 1)
            with m.Elif(self.i.p.end):
                m.d.sync += [appended.eq(0), crc.eq(crc.init)]

        return m


def _select(values, index):
    """Value number ``index``, by a tree of multiplexers; any of them, if there is none."""
    for bit in index:
        pairs = zip(values[::2], values[1::2], strict=False)
        spare = values[-1:] if len(values) % 2 else []
        values = [*(Mux(bit, high, low) for low, high in pairs), *spare]
    return values[0]


def _byte(value, index):
    """Byte of a value that is extended to 32 bits."""
    value = Value.cast(value)
    above = value[-1] if value.shape().signed else C(0, 1)
    return Cat(value, above.replicate(32 - len(value))).word_select(index, 8)
