# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import ResetInserter, Signal
from amaranth.sim import Simulator

from xnorflow.hw.ops.frame_buffer import FrameBuffer
from xnorflow.hw.streams.frame_select import FrameSelect
from xnorflow.hw.streams.repeating_queue import RepeatingQueue
from xnorflow.hw.streams.words import lane_layout
from xnorflow.sim.pysim import transact


WORDS, FRAMES = 6, 5
VALUES = np.random.default_rng(0).integers(0, 256, (FRAMES, WORDS))


def repeated(passes):
    return np.repeat(VALUES, passes, axis=0).ravel().tolist()


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("depth", [6, 7, 8, 13])
@pytest.mark.parametrize("passes", [1, 2, 3])
def test_frames_leave_several_times(passes, depth, stall):
    dut = RepeatingQueue(8, depth, words=WORDS, passes=passes)
    inputs = VALUES.ravel().tolist()
    assert transact(dut, inputs, len(inputs) * passes, stall=stall) == repeated(passes)


def test_a_word_leaves_every_cycle_and_frames_come_in_meanwhile():
    dut = RepeatingQueue(8, WORDS, words=WORDS, passes=2)
    inputs = VALUES.ravel().tolist()
    # The next frame's first word comes in when that of the last pass has left.
    cycles = FRAMES * 2 * WORDS + (FRAMES - 1) + dut.latency
    transact(dut, inputs, 2 * len(inputs), max_cycles=cycles)


def test_a_repeating_queue_must_hold_a_frame():
    with pytest.raises(ValueError, match=r"^A repeating queue must hold at least 6 words, not 5$"):
        RepeatingQueue(8, 5, words=6, passes=2)


def frame_buffer(depth):
    shapes = lane_layout(8, 1), lane_layout(4, 1)
    return FrameBuffer(
        shapes[0], depth, words=WORDS, parameter_shape=shapes[1], parameter_words=3, passes=2
    )


INPUTS = [{"lanes": [value]} for value in VALUES.ravel().tolist()]
PARAMETERS = [{"lanes": [0]}] * 3


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("depth", [6, 9])
def test_a_released_frame_leaves_a_buffer_twice(depth, stall):
    parameters, count = PARAMETERS * FRAMES, 2 * VALUES.size
    outputs = transact(frame_buffer(depth), INPUTS, count, parameters=parameters, stall=stall)
    assert [list(o.lanes) for o in outputs] == [[value] for value in repeated(2)]


@pytest.mark.parametrize("depth", [6, 9])
def test_a_buffer_keeps_words_that_leave_again(depth):
    with pytest.raises(TimeoutError, match=rf"^{depth} of 30 inputs and 0 of 1 outputs "):
        transact(frame_buffer(depth), INPUTS, 1, max_cycles=200)


def test_what_is_not_released_stays_in_its_buffer():
    with pytest.raises(TimeoutError, match=r"^21 of 21 inputs and 12 of 13 outputs "):
        transact(frame_buffer(20), INPUTS[:18], 13, parameters=PARAMETERS, max_cycles=200)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_one_of_several_frames_is_handed_on(chosen, stall):
    frames = np.arange(4 * 3 * WORDS).reshape(4, 3, WORDS)
    dut = FrameSelect(8, words=WORDS, frames=3, chosen=chosen)
    wanted = frames[:, chosen].ravel().tolist()
    # What is behind the last word that is wanted is taken, too.
    outputs = transact(dut, frames.ravel().tolist(), len(wanted), stall=stall)
    assert outputs == wanted


def test_the_chosen_frame_is_one_of_them():
    with pytest.raises(ValueError, match=r"^The chosen one of 2 frames cannot be 2$"):
        FrameSelect(8, words=3, frames=2, chosen=2)


@pytest.mark.parametrize(
    "dut",
    [
        RepeatingQueue(8, 9, words=WORDS, passes=2),
        FrameSelect(8, words=WORDS, frames=2, chosen=1),
    ],
    ids=["queue", "select"],
)
def test_a_reset_forgets_where_a_frame_was(dut):
    cleared, taken = Signal(), []

    async def put(ctx, values):
        for value in values:
            ctx.set(dut.i.p, value)
            ready = False
            while not ready:
                *_, ready, valid, word = await ctx.tick().sample(dut.i.ready, dut.o.valid, dut.o.p)
                if valid:
                    taken.append(word)

    async def bench(ctx):
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.valid, 1)
        await put(ctx, [99] * (WORDS + 2))
        ctx.set(cleared, 1)
        await ctx.tick()
        ctx.set(cleared, 0)
        taken.clear()
        await put(ctx, range(3 * WORDS))

    simulator = Simulator(ResetInserter(cleared)(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    first = [*range(WORDS)] if isinstance(dut, RepeatingQueue) else [*range(WORDS, 2 * WORDS)]
    assert taken[: len(first)] == first
