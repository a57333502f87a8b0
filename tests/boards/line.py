"""A link in Amaranth's simulator, with a host at the other end of the serial line."""

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect
from amaranth.sim import Simulator

from xnorflow.boards.link import Link
from xnorflow.boards.protocol import Info, Reply, decode_reply
from xnorflow.hw.ops.argmax import result_layout
from xnorflow.hw.streams.guard import frame_layout
from xnorflow.hw.streams.words import value_shape
from xnorflow.ir import FeatureMap, UInt


DIVISOR = 4
SCORE_BITS = 13

INFO = Info(
    frame=FeatureMap(2, 3, 1, UInt(8)), classes=3, lanes=1,
    clock=1_000_000, cycles_per_frame=7, fingerprint=b"\x01\x00\x02\xff\xfe\x80\0\0", name="doppel",
)  # fmt: skip


def scores_of(frame):
    """Scores that the test double gives for a frame of bytes."""
    total = int(np.asarray(frame).sum())
    return [total, -total, total // 2]


class Double(wiring.Component):
    """Stands for an accelerator: its scores depend on the sum of the pixels.

    It takes a word in ``pace`` cycles at most, and nothing between a frame's last word and the
    result, which comes ``latency`` cycles, at least 2, after it. Like the real one, it drops frames
    with ``error``. The link must not end frames of a wrong length without ``error``, or frames that
    have not begun: the simulation then fails.
    """

    def __init__(self, info, *, latency=5, pace=1):
        self.info = info
        self.latency = latency
        self.pace = pace
        super().__init__({
            "i": In(stream.Signature(frame_layout(value_shape(info.frame.type), info.lanes))),
            "o": Out(stream.Signature(result_layout(info.classes, SCORE_BITS))),
        })

    def elaborate(self, _platform):
        m = Module()
        words = -(-self.info.frame.size // self.info.lanes)
        total, count, wait = Signal(12), Signal(range(words + 2)), Signal(range(self.latency))
        beat = Signal(range(self.pace))
        m.d.sync += beat.eq(Mux(beat == self.pace - 1, 0, beat + 1))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("Take"):
                m.d.comb += self.i.ready.eq(beat == 0)
                with m.If(self.i.valid & self.i.ready):
                    m.d.sync += [
                        total.eq(total + sum(self.i.p.data)),
                        count.eq(count + 1),
                        wait.eq(self.latency - 2),
                    ]
                    with m.If(self.i.p.last & self.i.p.error):
                        m.d.sync += Assert(count != 0)
                        m.d.sync += [total.eq(0), count.eq(0)]
                    with m.Elif(self.i.p.last):
                        m.d.sync += Assert(count == words - 1)
                        m.next = "Work"
            with m.State("Work"):
                m.d.sync += wait.eq(wait - 1)
                with m.If((wait == 0) & (~self.o.valid | self.o.ready)):
                    m.d.sync += [
                        self.o.valid.eq(1),
                        self.o.p.label.eq(total % self.info.classes),
                        self.o.p.scores[0].eq(total),
                        self.o.p.scores[1].eq(-total),
                        self.o.p.scores[2].eq(total >> 1),
                        total.eq(0),
                        count.eq(0),
                    ]
                    m.next = "Take"
        return m


class Bench(wiring.Component):
    """The test double behind a link."""

    rx: In(1, init=1)
    tx: Out(1, init=1)
    busy: Out(1)
    refused: Out(1)
    rst: In(1)

    def __init__(self, info=INFO, *, divisor=DIVISOR, **options):
        self.link = Link(info, score_bits=SCORE_BITS, divisor=divisor)
        self.double = Double(info, **options)
        super().__init__()

    def elaborate(self, _platform):
        m = Module()
        link = self.link
        m.submodules.link = ResetInserter(self.rst)(link)
        m.submodules.double = ResetInserter(self.rst)(self.double)
        connect(m, link.o_frame, self.double.i)
        connect(m, self.double.o, link.i_result)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.busy.eq(link.busy),
            self.refused.eq(link.refused),
        ]
        return m


class Host:
    """Drives ``rx`` bit by bit, and collects the packets that come over ``tx``."""

    def __init__(self, ctx, dut, divisor):
        self.ctx = ctx
        self._dut = dut
        self._divisor = divisor
        self.packets = []
        """Packets that have come and not been read, without delimiters."""

    async def send(self, content):
        """Send bytes."""
        for byte in content:
            for bit in (0, *(byte >> n & 1 for n in range(8)), 1):
                await self.drive(bit, self._divisor)

    async def drive(self, level, cycles):
        """Hold the line at a level."""
        self.ctx.set(self._dut.rx, level)
        await self.ctx.tick().repeat(cycles)

    def level(self, pin):
        """Level of another pin."""
        return self.ctx.get(getattr(self._dut, pin))

    async def reset(self):
        """Reset the board for a cycle."""
        self.ctx.set(self._dut.rst, 1)
        await self.ctx.tick()
        self.ctx.set(self._dut.rst, 0)

    async def reply(self, patience=3000) -> Reply:
        """Wait for a packet."""
        for _ in range(patience):
            if self.packets:
                return decode_reply(self.packets.pop(0))
            await self.ctx.tick()
        raise TimeoutError(f"no reply after {patience} cycles")

    async def silence(self, cycles=800):
        """Check that nothing comes any more."""
        for _ in range(cycles):
            await self.ctx.tick()
        assert not self.packets

    async def collect(self):
        """Sample ``tx`` in the middle of each bit, forever."""
        encoded = bytearray()
        while True:
            *_, level = await self.ctx.tick().sample(self._dut.tx)
            if level:
                continue
            for _ in range(self._divisor // 2):
                await self.ctx.tick()
            byte = 0
            for n in range(9):
                for _ in range(self._divisor):
                    await self.ctx.tick()
                byte |= self.ctx.get(self._dut.tx) << n
            assert byte >> 8, "a byte has no stop bit"
            if byte & 0xFF:
                encoded.append(byte & 0xFF)
            elif encoded:
                self.packets.append(bytes(encoded))
                encoded.clear()


def run(dut, script, *, divisor=DIVISOR):
    """Simulate ``dut`` while the coroutine ``script(host)`` talks to it."""
    hosts = []

    async def drive(ctx):
        hosts.append(Host(ctx, dut, divisor))
        await script(hosts[0])

    async def collect(ctx):
        collector = Host(ctx, dut, divisor)
        collector.packets = hosts[0].packets
        await collector.collect()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(collect, background=True)
    simulator.run()
