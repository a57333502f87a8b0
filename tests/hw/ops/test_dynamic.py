# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest
from amaranth import ResetInserter, Signal
from amaranth.sim import Simulator

from xnorflow.hw.ops.dynamic_threshold import DynamicThreshold
from xnorflow.hw.ops.dynamic_two_slope import DynamicTwoSlope
from xnorflow.hw.ops.frame_buffer import FrameBuffer
from xnorflow.hw.streams.words import lane_layout
from xnorflow.ir import DynamicThreshold as ThresholdNode
from xnorflow.ir import DynamicTwoSlope as TwoSlopeNode
from xnorflow.ir import FeatureMap, Int, Rounding
from xnorflow.sim.pysim import transact


SHAPES = [((3, 4, 4), 2), ((2, 2, 6), 2), ((3, 2, 3), 1), ((1, 1, 4), 4), ((2, 5, 1), 1)]
FRAMES = 6


def words(values, lanes=1):
    return [{"lanes": word} for word in values.reshape(-1, lanes).tolist()]


def case(shape, channels, *, bits=6):
    rng = np.random.default_rng(channels)
    frames = rng.integers(-(1 << bits - 1), 1 << bits - 1, (FRAMES, *shape))
    parameters = rng.integers(-20, 21, (FRAMES, 1, 1, channels))
    return frames, parameters, FeatureMap(*shape, Int(bits)), FeatureMap(1, 1, channels, Int(7))


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize(("shape", "lanes"), SHAPES)
def test_thresholds_are_those_of_their_frame(shape, lanes, first, stall):
    frames, parameters, source, of = case(shape, first + shape[2] + 2)
    dut = DynamicThreshold(ThresholdNode("t", "x", "p", first), source, of, lanes=lanes)
    expected = frames >= parameters[..., first : first + shape[2]]

    outputs = transact(
        dut, words(frames, lanes), frames.size // lanes, parameters=words(parameters), stall=stall
    )

    assert [list(o.lanes) for o in outputs] == expected.astype(int).reshape(-1, lanes).tolist()


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("shape", "lanes"), SHAPES)
def test_a_threshold_can_be_the_mean(shape, lanes, stall):
    frames, _, source, _ = case(shape, 1)
    frames //= 8
    sums = frames.sum(axis=(1, 2, 3), keepdims=True)
    node = ThresholdNode("t", "x", "p", scale=source.size)
    dut = DynamicThreshold(node, source, FeatureMap(1, 1, 1, Int(13)), lanes=lanes)
    expected = frames * source.size >= sums

    outputs = transact(
        dut, words(frames, lanes), frames.size // lanes, parameters=words(sums), stall=stall
    )

    assert [list(o.lanes) for o in outputs] == expected.astype(int).reshape(-1, lanes).tolist()


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("shift", "bits"), [(0, 12), (4, 6), (6, 9)])
@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize(("shape", "lanes"), SHAPES)
def test_slopes_are_between_the_shifts_of_their_frame(shape, lanes, first, shift, bits, stall):
    channels = shape[2]
    frames, parameters, source, of = case(shape, first + 2 * channels + 1)
    positive, negative = np.random.default_rng(shift).integers(-40, 41, (2, channels))
    node = TwoSlopeNode("t", "x", "p", positive, negative, Rounding(shift, bits), first)
    dut = DynamicTwoSlope(node, source, of, lanes=lanes)
    before, after = np.split(parameters[..., first : first + 2 * channels], 2, axis=3)
    z = frames + before
    exact = (np.where(z >= 0, positive, negative) * z + ((1 << shift) >> 1) >> shift) + after
    expected = np.clip(exact, -(1 << bits - 1), (1 << bits - 1) - 1)

    outputs = transact(
        dut, words(frames, lanes), frames.size // lanes, parameters=words(parameters), stall=stall
    )

    assert [list(o.lanes) for o in outputs] == expected.reshape(-1, lanes).tolist()


UNITS = {
    DynamicThreshold: ThresholdNode("t", "x", "p"),
    DynamicTwoSlope: TwoSlopeNode("t", "x", "p", np.ones(4, int), np.ones(4, int), Rounding(0, 7)),
}


def unit(make):
    """A unit for frames of 20 words, with 9 parameters."""
    source, of = FeatureMap(5, 2, 4, Int(6)), FeatureMap(1, 1, 9, Int(7))
    return make(UNITS[make], source, of, lanes=2)


@pytest.mark.parametrize("make", UNITS)
def test_takes_a_word_every_cycle_across_frames(make):
    """The first frame waits for its parameters; the others' come while one is worked on."""
    dut = unit(make)
    cycles = 9 + FRAMES * 20 + dut.latency
    inputs = [{"lanes": [1, 2]}] * FRAMES * 20
    parameters = [{"lanes": [0]}] * FRAMES * 9
    transact(dut, inputs, len(inputs), parameters=parameters, max_cycles=cycles)


@pytest.mark.parametrize("make", UNITS)
def test_waits_for_its_parameters(make):
    with pytest.raises(TimeoutError, match=r"^8 of 28 inputs and 0 of 20 outputs "):
        transact(
            unit(make),
            [{"lanes": [1, 2]}] * 20,
            20,
            parameters=[{"lanes": [0]}] * 8,
            max_cycles=100,
        )


@pytest.mark.parametrize("make", UNITS)
def test_takes_no_more_parameters_than_two_frames(make):
    with pytest.raises(TimeoutError, match=r"^18 of 36 inputs and 0 of 1 outputs "):
        transact(unit(make), [], 1, parameters=[{"lanes": [0]}] * 36, max_cycles=100)


def frame_buffer(depth, *, size=12):
    shape = lane_layout(8, 1)
    return FrameBuffer(
        shape, depth, words=size, parameter_shape=lane_layout(4, 1), parameter_words=3
    )


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("depth", [12, 13, 17, 30])
def test_a_frame_buffer_is_a_queue(depth, stall):
    values = np.random.default_rng(depth).integers(0, 256, (FRAMES, 12))
    outputs = transact(
        frame_buffer(depth),
        words(values),
        values.size,
        parameters=[{"lanes": [0]}] * 3 * FRAMES,
        stall=stall,
    )
    assert [list(o.lanes) for o in outputs] == values.reshape(-1, 1).tolist()


@pytest.mark.parametrize("depth", [12, 13, 30])
def test_a_frame_buffer_holds_so_many_words(depth):
    """Or else a frame and what comes after it would not fit."""
    with pytest.raises(TimeoutError, match=rf"^{depth} of 40 inputs and 0 of 1 outputs "):
        transact(frame_buffer(depth), words(np.zeros(40, int)), 1, max_cycles=100)


def test_a_frame_buffer_keeps_its_frame():
    """Parameters of one frame let one frame through."""
    with pytest.raises(TimeoutError, match=r"^39 of 39 inputs and 12 of 13 outputs "):
        transact(
            frame_buffer(30), words(np.zeros(36, int)), 13, parameters=[{"lanes": [0]}] * 3,
            max_cycles=200,
        )  # fmt: skip


def after_reset(dut, size):
    """Words that ``dut`` takes, and whether it delivers any, without parameters after a reset.

    Those of one frame came before it.
    """
    cleared = Signal()
    taken, delivered = 0, False

    async def bench(ctx):
        nonlocal taken, delivered
        ctx.set(dut.i_parameters.valid, 1)
        for _ in range(size):
            await ctx.tick()
        ctx.set(dut.i_parameters.valid, 0)
        ctx.set(cleared, 1)
        await ctx.tick()
        ctx.set(cleared, 0)
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.valid, 1)
        for _ in range(40):
            *_, ready, valid = await ctx.tick().sample(dut.i.ready, dut.o.valid)
            taken += ready
            delivered |= bool(valid)

    simulator = Simulator(ResetInserter(cleared)(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return taken, delivered


@pytest.mark.parametrize("make", UNITS)
def test_a_reset_forgets_parameters(make):
    assert after_reset(unit(make), 9) == (0, False)


def test_a_reset_forgets_released_frames():
    taken, delivered = after_reset(frame_buffer(30), 3)
    assert taken >= 30
    assert not delivered


def test_a_frame_buffer_must_hold_a_frame():
    with pytest.raises(ValueError, match=r"^A frame buffer must hold at least 12 words, not 11$"):
        frame_buffer(11)


@pytest.mark.parametrize("make", UNITS)
def test_rejects_lanes(make):
    message = "Lanes must divide the 4 channels, not 3"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(UNITS[make], FeatureMap(2, 2, 4, Int(6)), FeatureMap(1, 1, 8, Int(6)), lanes=3)
