"""Bench of a whole accelerator: every score of every frame is the golden model's.

The environment variable ``XNORFLOW_CASE`` names a folder with ``network.xnf`` and what
`xnorflow.hw.compile.emit.generate` wrote for it.
"""

import os
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly
from numpy.typing import NDArray

from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.ir import xnf
from xnorflow.sim.description import Description
from xnorflow.sim.streams import (
    Monitor,
    Stream,
    Transfer,
    amaranth_stream,
    axi_stream,
    receive,
    reset,
    send,
    start_clock,
)
from xnorflow.sw.golden import golden


CASE = Path(os.environ["XNORFLOW_CASE"])
DESIGN = Description.load(CASE)
NETWORK = xnf.load(CASE / "network.xnf")
ANY_NUMBER = DESIGN.frames_per_packet is FramesPerPacket.ANY

Beat = tuple[int, int, int]
"""tdata, tlast, tuser."""


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def runs_at_the_promised_rate(dut: Any) -> None:
    """Frames back to back: the right scores, after exactly the predicted numbers of cycles."""
    frames = random_frames(12)
    await start(dut)
    sent, received = await run(dut, packets(frames), len(frames))
    check(received, frames)
    first_words = sent[:: DESIGN.words_per_frame]
    check_latency(received[0].cycle - first_words[0].cycle)
    # The pipeline fills up with the first results; then it has its own pace.
    distances = np.diff([transfer.cycle for transfer in received]).tolist()
    assert distances[5:] == [DESIGN.cycles_per_frame] * (len(distances) - 5)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(sending=[0.0, 0.5], receiving=[0.3, 0.97])
async def bears_stalls(dut: Any, sending: float, receiving: float) -> None:
    """Random waits on either side change nothing but the time."""
    frames = random_frames(10)
    await start(dut)
    _, received = await run(dut, packets(frames), len(frames), sending=sending, receiving=receiving)
    check(received, frames)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(seed=range(4))
async def recovers_from_reset(dut: Any, seed: int) -> None:
    """A reset in the middle of a frame leaves nothing behind."""
    rng = random.Random(seed)
    frames = random_frames(4, seed)
    await start(dut)
    task = cocotb.start_soon(run(dut, packets(frames), len(frames)))
    for _ in range(rng.randrange(1, DESIGN.latency + 2 * DESIGN.cycles_per_frame)):
        await FallingEdge(dut.clk)
    task.cancel()
    await start(dut)
    sent, received = await run(dut, packets(frames), len(frames))
    check(received, frames)
    check_latency(received[0].cycle - sent[0].cycle)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def drops_bad_frames(dut: Any, stall: float) -> None:
    """Frames that are short, long or marked are dropped whole, counted and flagged.

    In packets of any number of frames nothing is long, and only a packet's last frame is short.
    """
    rng = random.Random(1)
    frames = random_frames(16)
    good = np.array([n % 3 == 2 or n == len(frames) - 1 for n in range(len(frames))])
    await start(dut)
    flags: list[int] = []
    counting = cocotb.start_soon(record(dut.clk, dut.frame_error, flags))
    sequence = [
        beats(frame) if fine else spoilt(frame, rng)
        for frame, fine in zip(frames, good, strict=True)
    ]
    if ANY_NUMBER:
        # Good frames, and those that are marked, go on into the next one's packet.
        sequence = [
            joined(words) if len(words) == DESIGN.words_per_frame and rng.random() < 0.6 else words
            for words in sequence
        ]
    _, received = await run(dut, sequence, int(good.sum()), sending=stall, receiving=stall)
    check(received, frames[good])
    counting.cancel()
    assert sum(flags) == int(dut.dropped_frames.value) == (~good).sum()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def gives_every_activation(dut: Any) -> None:
    """The bits between the layers are the golden model's, all of them."""
    frames = random_frames(8)
    execution = golden(NETWORK, frames, keep=NETWORK.maps.keys())
    units = "Threshold", "DynamicThreshold"
    lanes = {step["name"]: step["lanes"] for step in DESIGN.steps if step["unit"] in units}
    monitors = {
        name: Monitor(amaranth_stream(dut.clk, getattr(dut.core, name), "o")) for name in lanes
    }
    await start(dut)
    tasks = [cocotb.start_soon(monitor.run()) for monitor in monitors.values()]
    await run(dut, packets(frames), len(frames), sending=0.2, receiving=0.2)
    for task in tasks:
        task.cancel()
    for name, monitor in monitors.items():
        expected = execution.maps[name].flatten(1).numpy()
        words = np.array([transfer.payload[0] for transfer in monitor.transfers], np.uint64)
        bits = words[:, np.newaxis] >> np.arange(lanes[name], dtype=np.uint64) & np.uint64(1)
        actual = bits.reshape(len(frames), -1)[:, : expected.shape[1]]
        np.testing.assert_array_equal(actual, expected, err_msg=name)


# -- helpers --------------------------------------------------------------------------------------


def random_frames(count: int, seed: int = 0) -> NDArray[Any]:
    """Frames of noise."""
    rng = np.random.default_rng(seed)
    pixel = DESIGN.frame.type
    return rng.integers(pixel.low, pixel.high, (count, *DESIGN.frame_shape), endpoint=True)


def beats(frame: NDArray[Any]) -> list[Beat]:
    """A frame as it goes through ``s_axis``."""
    (words,) = DESIGN.words(frame[np.newaxis])
    data = [int.from_bytes(word.tobytes(), "little") for word in words]
    return [(word, n == len(data) - 1, 0) for n, word in enumerate(data)]


def packets(frames: NDArray[Any]) -> list[list[Beat]]:
    """Frames as they go through ``s_axis``: all in one packet, where it may hold any number."""
    *others, end = (beats(frame) for frame in frames)
    return [joined(frame) for frame in others] + [end] if ANY_NUMBER else [*others, end]


def joined(words: list[Beat]) -> list[Beat]:
    """A frame whose packet does not end with it."""
    return [(data, 0, error) for data, _, error in words]


def spoilt(frame: NDArray[Any], rng: random.Random) -> list[Beat]:
    """A frame that is too short, too long, or marked as bad."""
    words = [data for data, _, _ in beats(frame)]
    marked = False
    match rng.choice(["short", "marked"] if ANY_NUMBER else ["short", "long", "marked"]):
        case "short" if len(words) > 1:
            words = words[: rng.randrange(1, len(words))]
        case "long":
            words += words[: rng.choice([1, len(words)])]
        case _:
            marked = True
    ends = [n == len(words) - 1 for n in range(len(words))]
    return [(data, end, end and marked) for data, end in zip(words, ends, strict=True)]


async def start(dut: Any) -> None:
    """Reset the accelerator, with nothing offered and nothing taken."""
    start_clock(dut.clk)
    dut.s_axis_tvalid.value = 0
    dut.m_axis_tready.value = 0
    await reset(dut.clk, dut.rst)


async def run(
    dut: Any,
    frames: list[list[Beat]],
    results: int,
    *,
    sending: float = 0.0,
    receiving: float = 0.0,
) -> tuple[list[Transfer], list[Transfer]]:
    """Send frames and take results; gives the transfers of both sides."""
    source: Stream = axi_stream(dut.clk, dut, "s_axis", "tdata", "tlast", "tuser")
    target: Stream = axi_stream(dut.clk, dut, "m_axis", "tdata", "tlast")
    sequence = [beat for frame in frames for beat in frame]
    sender = cocotb.start_soon(send(source, sequence, stall=sending))
    try:
        received = await receive(target, results, stall=receiving)
        return await sender, received
    finally:
        sender.cancel()


def check(received: list[Transfer], frames: NDArray[Any]) -> None:
    """Compare results with the golden model's."""
    assert all(last for _, last in (transfer.payload for transfer in received))
    data = b"".join(
        transfer.payload[0].to_bytes(DESIGN.result_bytes, "little") for transfer in received
    )
    check_scores(np.frombuffer(data, np.uint8).reshape(len(received), -1), frames)


def check_scores(results: NDArray[np.uint8], frames: NDArray[Any]) -> None:
    """Compare the bytes of results with the golden model's."""
    labels, scores = DESIGN.results(results)
    expected = golden(NETWORK, frames)
    np.testing.assert_array_equal(scores, expected.scores.numpy())
    if expected.labels is None:
        assert labels is None
    else:
        np.testing.assert_array_equal(labels, expected.labels.numpy())


def check_latency(cycles: int) -> None:
    """The latency is as predicted; where windows slide, the prediction is a lower bound."""
    if any(step["unit"] == "SlidingWindowUnit" for step in DESIGN.steps):
        assert cycles >= DESIGN.latency
    else:
        assert cycles == DESIGN.latency


async def record(clock: Any, handle: Any, values: list[int]) -> None:
    """Append the value of a signal in every cycle, forever."""
    while True:
        await FallingEdge(clock)
        await ReadOnly()
        values.append(int(handle.value))
