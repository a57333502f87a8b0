# amaranth: UnusedElaboratable=no
"""The SPI peripheral, and its packets."""

import random

import pytest
from amaranth import ResetInserter, Signal
from amaranth.sim import Simulator

from tests.boards.controller import Controller
from xnorflow.boards.protocol import cobs_encode
from xnorflow.boards.spi import MIN_RATIO, PacketBuffer, SpiPeripheral
from xnorflow.sim.pysim import transact


CONTENT = bytes([0, 255, 0x55, 0xAA, 1, 128, *random.Random(1).randbytes(6)])


def run(script, *, ratio=MIN_RATIO, sends=b"", stall=0.0):
    """Let ``script(controller, reset)`` talk to a peripheral; gives what was delivered.

    It has the bytes ``sends`` to send, and what it receives is taken with pauses.
    """
    dut, rst = SpiPeripheral(), Signal()
    rng = random.Random(2)
    delivered = []

    async def drive(ctx):
        async def reset():
            ctx.set(rst, 1)
            await ctx.tick()
            ctx.set(rst, 0)

        await ctx.tick().repeat(4)
        await script(Controller(ctx, dut, ratio), reset)
        await ctx.tick().repeat(4)

    async def take(ctx):
        while True:
            ctx.set(dut.o.ready, rng.random() >= stall)
            *_, valid, ready, out = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.p)
            if valid and ready:
                delivered.append((out.data, out.lost))

    async def send(ctx):
        for byte in sends:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    simulator = Simulator(ResetInserter(rst)(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(take, background=True)
    simulator.add_testbench(send, background=True)
    simulator.run()
    return delivered


@pytest.mark.parametrize("ratio", [4, 5, 9])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_bytes_go_both_ways(ratio, stall):
    sends = CONTENT[::-1]

    async def script(controller, _):
        for at in range(0, len(CONTENT), 4):
            assert await controller.transfer(CONTENT[at : at + 4]) == sends[at : at + 4]

    delivered = run(script, ratio=ratio, sends=sends, stall=stall)
    assert delivered == [(byte, 0) for byte in CONTENT]


def test_sends_zeros_when_there_is_nothing_else():
    async def script(controller, _):
        assert await controller.transfer(bytes(5)) == b"ab\0\0\0"

    run(script, sends=b"ab")


def test_a_byte_that_is_broken_off_is_a_loss():
    async def script(controller, _):
        await controller.transfer(b"a")
        await controller.select(1)
        await controller.exchange(ord("b"), bits=5)
        await controller.select(0)
        assert await controller.transfer(b"cd") == b"\0\0"

    assert run(script) == [(ord("a"), 0), (ord("c"), 1), (ord("d"), 0)]


def test_a_byte_that_finds_no_room_is_a_loss():
    async def script(controller, _):
        await controller.transfer(b"abc")

    assert run(script, stall=1.0) == []


def test_edges_without_selection_are_nothing():
    async def script(controller, _):
        for byte in b"xy":
            await controller.exchange(byte)
        assert await controller.transfer(b"ab") == b"12"

    assert run(script, sends=b"12") == [(ord("a"), 0), (ord("b"), 0)]


@pytest.mark.parametrize("bits", [0, 3, 7])
def test_after_a_reset_it_waits_for_the_next_selection(bits):
    async def script(controller, reset):
        await controller.select(1)
        await controller.exchange(ord("a"), bits=bits)
        await reset()
        await controller.transfer(b"bc")
        await controller.transfer(b"de")

    assert run(script) == [(ord("d"), 0), (ord("e"), 0)]


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_a_packet_is_held_back_until_it_is_complete(stall):
    packets = [b"\0" + cobs_encode(content) + b"\0" for content in (CONTENT, b"", CONTENT[:2])]
    dut = PacketBuffer(max(map(len, packets)))
    sent = b"".join(packets)
    assert bytes(transact(dut, list(sent), len(sent), stall=stall, max_cycles=2000)) == sent
    unfinished = transact(dut := PacketBuffer(40), list(sent[:8]), 0, max_cycles=100)
    assert unfinished == []


def test_refuses_a_buffer_without_room():
    with pytest.raises(ValueError, match=r"^Depth of a packet buffer must be at least 3, not 2$"):
        PacketBuffer(2)
