# amaranth: UnusedElaboratable=no
import random

import pytest
from amaranth import *
from amaranth.sim import Simulator

from xnorflow.hw.streams.guard import FrameGuard, FramePacer, VerdictGate
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.sim.pysim import transact


WORDS = 4


def run_guard(frames, stall, max_cycles=2000):
    """Send frames (lists of words, marked bad or not); gives words and verdicts that came out."""
    beats = [
        (word, last, bad and last)
        for frame, bad in frames
        for word, last in zip(frame, [0] * (len(frame) - 1) + [1], strict=True)
    ]
    return run_beats(FrameGuard(8, lanes=1, words=WORDS), beats, stall, max_cycles)


def run_beats(dut, beats, stall, max_cycles=2000):
    """Send words with ``last`` and ``error``; gives words and verdicts that came out."""
    waits = random.Random(stall)
    words, verdicts, errors = [], [], []

    async def put(ctx):
        for word, last, error in beats:
            while waits.random() < stall:
                await ctx.tick()
            ctx.set(dut.i.p, {"data": [word], "last": last, "error": error})
            ctx.set(dut.i.valid, 1)
            ready = False
            while not ready:
                *_, ready = await ctx.tick().sample(dut.i.ready)
            ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(10 * WORDS)

    async def get(ctx):
        while True:
            ready, verdict_ready = waits.random() >= stall, waits.random() >= stall
            ctx.set(dut.o.ready, ready)
            ctx.set(dut.o_verdict.ready, verdict_ready)
            *_, valid, word, verdict_valid, verdict, error = await ctx.tick().sample(
                dut.o.valid, dut.o.p, dut.o_verdict.valid, dut.o_verdict.payload, dut.frame_error
            )
            if verdict_valid and verdict_ready:
                verdicts.append(verdict)
                assert len(words) // dut.words == len(verdicts)
            if valid and ready:
                words.append(word.lanes[0])
            errors.append(error)
            if len(errors) > max_cycles:
                raise TimeoutError(f"{len(words)} words and {len(verdicts)} verdicts came")

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(put)
    sim.add_testbench(get, background=True)
    dropped = []

    async def count(ctx):
        while True:
            await ctx.tick()
            dropped.append(ctx.get(dut.dropped_frames))

    sim.add_testbench(count, background=True)
    sim.run()
    assert sum(errors) == dropped[-1]
    return words, verdicts, dropped[-1]


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_every_frame_comes_out_with_its_length(stall):
    good = ([1, 2, 3, 4], False)
    frames = [
        good,
        ([5], False),  # too short
        good,
        ([6, 7, 8], False),
        ([9, 10, 11, 12, 13, 14], False),  # too long
        good,
        ([15, 16, 17, 18, 19], False),
        good,
        ([20, 21, 22, 23], True),  # marked bad
        good,
        ([24, 25], True),
        good,
    ]

    words, verdicts, dropped = run_guard(frames, stall)

    assert verdicts == [len(frame) == WORDS and not bad for frame, bad in frames]
    assert dropped == verdicts.count(0)
    kept = [words[n * WORDS : (n + 1) * WORDS] for n, verdict in enumerate(verdicts) if verdict]
    assert kept == [[1, 2, 3, 4]] * frames.count(good)
    assert len(words) == WORDS * len(frames)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("words", [1, WORDS])
def test_a_packet_holds_any_number_of_frames(words, stall):
    """One that ends inside a frame loses that frame, and no other."""
    rng = random.Random(words)
    beats, expected = [], []
    for _ in range(12):
        for _ in range(rng.randrange(1, 5)):
            frame = [rng.randrange(1, 256) for _ in range(words)]
            bad = rng.random() < 0.3
            # Only beside a frame's last word, a mark counts.
            beats += [(word, 0, rng.random() < 0.5) for word in frame[:-1]]
            beats.append((frame[-1], 0, bad))
            expected.append(None if bad else frame)
        if words > 1 and rng.random() < 0.5:
            beats += [(9, 0, 0)] * rng.randrange(1, words)
            expected.append(None)
        word, _, error = beats[-1]
        beats[-1] = word, 1, error

    dut = FrameGuard(8, lanes=1, words=words, frames_per_packet=FramesPerPacket.ANY)
    came, verdicts, dropped = run_beats(dut, beats, stall)

    assert verdicts == [frame is not None for frame in expected]
    assert dropped == expected.count(None)
    frames = [came[n : n + words] for n in range(0, len(came), words)]
    assert len(frames) == len(expected)
    assert all(frame in (None, found) for frame, found in zip(expected, frames, strict=True))


def test_gate_drops_the_results_of_bad_frames():
    dut = VerdictGate(8)
    taken = []

    async def put(ctx):
        for result, verdict, late in [(1, 1, 0), (2, 0, 2), (3, 1, 3), (4, 0, 0), (5, 1, 0)]:
            ctx.set(dut.i.payload, result)
            ctx.set(dut.i.valid, 1)
            for _ in range(late):
                await ctx.tick()
            ctx.set(dut.i_verdict.payload, verdict)
            ctx.set(dut.i_verdict.valid, 1)
            ready = False
            while not ready:
                *_, ready = await ctx.tick().sample(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            ctx.set(dut.i_verdict.valid, 0)

    async def get(ctx):
        waits = random.Random(0)
        for _ in range(1000):
            ready = waits.random() < 0.5
            ctx.set(dut.o.ready, ready)
            *_, valid, result = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and ready:
                taken.append(result)
        raise TimeoutError(f"only {taken} came")

    top = Module()
    top.domains.sync = ClockDomain()  # the gate itself has no registers
    top.submodules.dut = dut
    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(put)
    sim.add_testbench(get, background=True)
    sim.run()

    assert taken == [1, 3, 5]


def test_rejects_empty_frames():
    with pytest.raises(ValueError, match=r"^A frame must have at least 1 word, not 0$"):
        FrameGuard(8, lanes=1, words=0)


@pytest.mark.parametrize(("words", "cycles"), [(1, 1), (1, 5), (4, 4), (4, 11)])
def test_frames_begin_no_sooner_than_they_may(words, cycles):
    frames = 6
    inputs = list(range(words * frames))
    most = (frames - 1) * cycles + words
    pacer = FramePacer(8, words=words, cycles=cycles)
    assert transact(pacer, inputs, len(inputs), max_cycles=most) == inputs
    with pytest.raises(TimeoutError):
        transact(
            FramePacer(8, words=words, cycles=cycles + 1), inputs, len(inputs), max_cycles=most
        )


def test_a_pacer_loses_nothing():
    inputs = list(range(40))
    pacer = FramePacer(8, words=4, cycles=9)
    assert transact(pacer, inputs, 40, stall=0.5) == inputs
