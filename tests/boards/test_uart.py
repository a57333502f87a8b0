# amaranth: UnusedElaboratable=no
import random

import pytest
from amaranth.sim import Simulator

from xnorflow.boards.uart import UartReceiver, UartTransmitter


def receive(divisor, levels, *, take=lambda _: True):
    """Bytes that a receiver delivers while the line has ``levels``, one for each clock cycle.

    ``take(cycle)`` says whether a byte would be taken in a cycle.
    """
    dut = UartReceiver(divisor)
    outputs = []

    async def drive(ctx):
        for cycle, level in enumerate([*levels, *[1] * 12 * divisor]):
            ctx.set(dut.rx, level)
            ready = take(cycle)
            ctx.set(dut.o.ready, ready)
            *_, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and ready:
                outputs.append((payload.data, payload.lost))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return outputs


def levels_of(content, bit=8.0, stop=1):
    """Line levels for bytes at ``bit`` clock cycles a bit; ``stop`` is the level of stop bits."""
    bits = [b for byte in content for b in (0, *(byte >> n & 1 for n in range(8)), stop)]
    return [bits[int(cycle / bit)] for cycle in range(int(len(bits) * bit))]


@pytest.mark.parametrize("divisor", [4, 5, 8, 13])
def test_receives_bytes_without_a_pause(divisor):
    content = bytes([0, 255, 0x55, 0xAA, 1, 128, *random.Random(1).randbytes(20)])
    assert receive(divisor, levels_of(content, divisor)) == [(byte, 0) for byte in content]


@pytest.mark.parametrize("drift", [0.96, 1.04])
def test_bears_a_clock_that_is_four_percent_off(drift):
    content = random.Random(2).randbytes(20)
    assert receive(16, levels_of(content, 16 * drift)) == [(byte, 0) for byte in content]


def test_says_that_a_byte_without_stop_bit_was_lost():
    levels = levels_of(b"a") + levels_of(b"b", stop=0) + [1] * 8 + levels_of(b"cd")
    assert receive(8, levels) == [(ord("a"), 0), (ord("c"), 1), (ord("d"), 0)]


def test_a_break_is_one_loss_however_long():
    levels = levels_of(b"a") + [0] * 500 + [1] * 8 + levels_of(b"bc")
    assert receive(8, levels) == [(ord("a"), 0), (ord("b"), 1), (ord("c"), 0)]


def test_says_that_bytes_found_no_room():
    levels = levels_of(b"abcde")
    taken = receive(8, levels, take=lambda cycle: cycle > 3.5 * 80)
    assert taken == [(ord("a"), 0), (ord("d"), 1), (ord("e"), 0)]


def test_a_glitch_is_not_a_byte():
    assert receive(8, [1] * 20 + [0] * 3 + [1] * 100 + levels_of(b"a")) == [(ord("a"), 0)]


@pytest.mark.parametrize("divisor", [4, 8])
def test_transmits_without_a_pause(divisor):
    content = bytes([0, 255, 0x55, *random.Random(3).randbytes(5)])
    dut = UartTransmitter(divisor)
    levels = []

    async def feed(ctx):
        for byte in content:
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def watch(ctx):
        for _ in range(10 * divisor * len(content) + 20):
            *_, level = await ctx.tick().sample(dut.tx)
            levels.append(level)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(watch)
    simulator.run()

    start = levels.index(0)
    expected = levels_of(content, divisor)
    assert levels[start : start + len(expected)] == expected
    assert all(levels[:start] + levels[start + len(expected) :])


@pytest.mark.parametrize("component", [UartReceiver, UartTransmitter])
def test_refuses_a_divisor_that_is_too_small(component):
    with pytest.raises(ValueError, match=r"^Divisor of a serial line must be at least 4, not 3$"):
        component(3)
