"""Bench of an accelerator whose AXI4-Streams have a width of their own.

The environment variable ``XNORFLOW_CASE`` names a folder as for `xnorflow.sim.benches.accelerator`.
"""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge
from numpy.typing import NDArray

from xnorflow.sim.benches.accelerator import (
    ANY_NUMBER,
    DESIGN,
    check_latency,
    check_scores,
    random_frames,
    record,
)
from xnorflow.sim.streams import Transfer, axi_stream, receive, reset, send, start_clock


Beat = tuple[int, int, int, int]
"""tdata, tkeep, tlast, tuser."""

BYTES = DESIGN.transfer_bytes
RESULT_BEATS = -(-DESIGN.result_bytes // BYTES)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def runs_at_the_promised_rate(dut: Any) -> None:
    """Frames back to back: the right scores, after exactly the predicted numbers of cycles."""
    frames = random_frames(12)
    await start(dut)
    sent, received = await run(dut, packets(frames, 1), len(frames))
    check(received, frames)
    check_latency(received[0].cycle - sent[0].cycle)
    ends = [transfer.cycle for transfer in received[RESULT_BEATS - 1 :: RESULT_BEATS]]
    assert np.diff(ends).tolist()[5:] == [DESIGN.cycles_per_frame] * (len(frames) - 6)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(sending=[0.0, 0.5], receiving=[0.3, 0.9])
async def bears_stalls(dut: Any, sending: float, receiving: float) -> None:
    """Random waits on either side change nothing but the time."""
    frames = random_frames(10)
    await start(dut)
    sequence = packets(frames, 4 if ANY_NUMBER else 1)
    _, received = await run(dut, sequence, len(frames), sending=sending, receiving=receiving)
    check(received, frames)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def offers_results_unasked(dut: Any) -> None:
    """``tvalid`` does not wait for ``tready``."""
    frames = random_frames(1)
    await start(dut)
    source = axi_stream(clock(dut), dut, "s_axis", "tdata", "tkeep", "tlast", "tuser")
    await send(source, packets(frames, 1)[0])
    for _ in range(DESIGN.latency + DESIGN.cycles_per_frame):
        await FallingEdge(clock(dut))
    assert dut.m_axis_tvalid.value == 1


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(seed=range(3))
async def recovers_from_reset(dut: Any, seed: int) -> None:
    """A reset in the middle of a frame, or of a result, leaves nothing behind."""
    rng = random.Random(seed)
    frames = random_frames(4, seed)
    await start(dut)
    task = cocotb.start_soon(run(dut, packets(frames, 1), len(frames), receiving=0.5))
    for _ in range(rng.randrange(1, DESIGN.latency + 2 * DESIGN.cycles_per_frame)):
        await FallingEdge(clock(dut))
    task.cancel()
    await start(dut)
    assert dut.m_axis_tvalid.value == 0
    sent, received = await run(dut, packets(frames, 1), len(frames))
    check(received, frames)
    check_latency(received[0].cycle - sent[0].cycle)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def drops_bad_frames(dut: Any, stall: float) -> None:
    """Packets that end early, late or not at all, are marked, or whose ``tkeep`` has gaps."""
    rng = random.Random(1)
    frames = random_frames(17)
    sequence, good, bad = [], [], 0
    for n, frame in enumerate(frames):
        if n % 2 and n < len(frames) - 1:
            sequence.append(spoilt(frame, rng))
            bad += 1
        else:
            sequence += packets(frame[np.newaxis], 1)
            good.append(n)
    await start(dut)
    flags: list[int] = []
    counting = cocotb.start_soon(record(clock(dut), dut.frame_error, flags))
    _, received = await run(dut, sequence, len(good), sending=stall, receiving=stall)
    check(received, frames[good])
    counting.cancel()
    assert sum(flags) == int(dut.dropped_frames.value) == bad


# -- helpers --------------------------------------------------------------------------------------


def clock(dut: Any) -> Any:
    """The clock's port."""
    return getattr(dut, DESIGN.reset.clock)


def frame_bytes(frames: NDArray[Any]) -> bytes:
    """Frames as they lie in memory."""
    flat = DESIGN.words(frames).reshape(len(frames), -1)[:, : DESIGN.frame_size]
    return flat.tobytes()


def beats(data: bytes) -> list[Beat]:
    """A packet of bytes."""
    parts = [data[n : n + BYTES] for n in range(0, len(data), BYTES)]
    ends = [n == len(parts) - 1 for n in range(len(parts))]
    return [
        (int.from_bytes(part, "little"), (1 << len(part)) - 1, end, 0)
        for part, end in zip(parts, ends, strict=True)
    ]


def packets(frames: NDArray[Any], size: int) -> list[list[Beat]]:
    """Frames in packets of so many."""
    return [beats(frame_bytes(frames[n : n + size])) for n in range(0, len(frames), size)]


def spoilt(frame: NDArray[Any], rng: random.Random) -> list[Beat]:
    """A packet with a single frame, which is bad."""
    data = frame_bytes(frame[np.newaxis])
    kinds = ["early", "user", "gap", "empty"] + ([] if ANY_NUMBER else ["late", "endless"])
    match rng.choice(kinds):
        case "early" if len(data) > 1:
            return beats(data[: rng.randrange(1, len(data))])
        case "late":
            return beats(data + rng.randbytes(rng.randrange(1, 2 * BYTES)))
        case "endless":  # its tlast is missing, so that it goes on with the next one
            return beats(data + data)
        case "gap" if BYTES > 1:
            words = beats(data)
            at = rng.randrange(len(words))
            word, keep, last, user = words[at]
            words[at] = (word, keep & ~1 or 2, last, user)
            return words
        case "empty" if BYTES > 1 and not ANY_NUMBER:
            words = beats(data)
            return [*words[:-1], (words[-1][0], 0, 1, 0)]
    *others, (word, keep, last, _) = beats(data)
    return [*others, (word, keep, last, 1)]


async def start(dut: Any) -> None:
    """Reset the accelerator, with nothing offered and nothing taken."""
    start_clock(clock(dut))
    dut.s_axis_tvalid.value = 0
    dut.m_axis_tready.value = 0
    active = int(not DESIGN.reset.is_active_low)
    await reset(clock(dut), getattr(dut, DESIGN.reset.value), active=active)


async def run(
    dut: Any,
    sequence: list[list[Beat]],
    results: int,
    *,
    sending: float = 0.0,
    receiving: float = 0.0,
) -> tuple[list[Transfer], list[Transfer]]:
    """Send packets and take results; gives the transfers of both sides."""
    source = axi_stream(clock(dut), dut, "s_axis", "tdata", "tkeep", "tlast", "tuser")
    target = axi_stream(clock(dut), dut, "m_axis", "tdata", "tkeep", "tlast")
    words = [beat for packet in sequence for beat in packet]
    sender = cocotb.start_soon(send(source, words, stall=sending))
    try:
        received = await receive(target, results * RESULT_BEATS, stall=receiving)
        return await sender, received
    finally:
        sender.cancel()


def check(received: list[Transfer], frames: NDArray[Any]) -> None:
    """Compare results with the golden model's, and their marks with what they must be."""
    keeps = [keep for _, keep, _, _ in beats(bytes(DESIGN.result_bytes))]
    lasts = [n == RESULT_BEATS - 1 for n in range(RESULT_BEATS)]
    marks = [(keep, last) for _, keep, last in (transfer.payload for transfer in received)]
    assert marks == list(zip(keeps, lasts, strict=True)) * len(frames)
    data = [transfer.payload[0].to_bytes(BYTES, "little") for transfer in received]
    whole = np.frombuffer(b"".join(data), np.uint8).reshape(len(frames), -1)
    assert not whole[:, DESIGN.result_bytes :].any()
    check_scores(whole[:, : DESIGN.result_bytes], frames)
