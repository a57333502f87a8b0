"""The schedule of a pipeline: how deep buffers must be for it to keep its rate.

Everything here follows from the stages alone, in clock cycles, without simulation; what each of
them does to the times of words is in its ``passage``. Times are arrays, one for each word of whole
frames, in order.
"""

from collections.abc import Mapping

import numpy as np

from xnorflow.errors import DesignError
from xnorflow.hw.families.device import Device
from xnorflow.hw.ops.frame_buffer import FrameBufferStage
from xnorflow.hw.streams.fifo import Fifo, FifoStage
from xnorflow.hw.streams.stage import Stage
from xnorflow.hw.streams.times import queue_depth
from xnorflow.ir import INPUT


__all__ = ["buffer_depths", "departures", "schedule", "single_period", "spans"]

_STEADY_FRAMES = 3
"""Frames after which what happens mostly repeats itself: one to fill up, and what it meets."""

_MOST_FRAMES = 12


def departures(
    stages: tuple[Stage, ...],
    sources: Mapping[str, tuple[str, ...]],
    arrivals: np.ndarray,
    device: Device,
) -> np.ndarray:
    """Cycles in which words leave the last stage, given those in which they enter the first ones.

    Nothing stalls any stage; so they leave no later in hardware than words can.
    """
    *_, (_, _, times) = _passages(stages, sources, arrivals, device)
    return times


def spans(
    stages: tuple[Stage, ...],
    sources: Mapping[str, tuple[str, ...]],
    words: int,
    device: Device,
) -> dict[str, tuple[int, int]]:
    """For each stage, when a frame's first word comes to it, and when its last one leaves.

    The ``words`` of the frame come in every cycle from 0 on, and nothing stalls.
    """
    return {
        stage.name: (int(min(feed[0] for feed in taken)), int(times[-1]))
        for stage, taken, times in _passages(stages, sources, np.arange(words), device)
    }


def _passages(stages, sources, arrivals, device):
    """Each stage, the cycles in which it takes words from each source, and delivers its own."""
    times = {INPUT: arrivals}
    for stage in stages:
        feeds = [times[source] for source in sources[stage.name]]
        taken, times[stage.name] = stage.passage(feeds, device)
        yield stage, taken, times[stage.name]


def buffer_depths(
    stages: tuple[Stage, ...],
    sources: Mapping[str, tuple[str, ...]],
    words: int,
    cycles: int,
    device: Device,
    period: int | None = None,
) -> dict[str, int]:
    """Words that each buffer must hold for the pipeline to keep its rate.

    The depths are those that this schedule needs: the words of a frame come evenly spread over
    its cycles, and every stage does its work as soon as it can. A frame begins every ``period``
    cycles, ``cycles`` if it is not given. A pipeline that is only stalled by
    buffers of these depths is nowhere later than that, since its units never wait without need;
    so it takes no more than that a frame, however the ``words`` of its input come.

    A queue that no word waits in has depth 0.

    Raises
    ------
    DesignError
        If the schedule does not repeat itself from frame to frame.
    """
    period = period or cycles
    for frames in range(_STEADY_FRAMES, _MOST_FRAMES):
        count = np.arange(frames * words, dtype=np.int64)
        arrivals = count // words * period + count % words * cycles // words
        times, depths = schedule(stages, sources, arrivals, device)
        if all(_repeats(t.reshape(frames, -1), period) for t in times.values()):
            return depths
    raise DesignError(f"the pipeline is not steady after {_MOST_FRAMES} frames")


def single_period(
    stages: tuple[Stage, ...],
    sources: Mapping[str, tuple[str, ...]],
    words: int,
    cycles: int,
    device: Device,
) -> int:
    """Fewest cycles from frame to frame in which no frame buffer must hold more than a frame.

    The parameters are those of `buffer_depths`.
    """
    buffers = [stage for stage in stages if isinstance(stage, FrameBufferStage)]
    least = {stage.name: stage.words for stage in buffers}

    def late(period):
        """About how many cycles too soon after each other frames come."""
        depths = buffer_depths(stages, sources, words, cycles, device, period)
        waits = ((depths[name] - depth, depth) for name, depth in least.items())
        return max((-(-more * cycles // depth) for more, depth in waits), default=0)

    # Where frames leave several times, this takes that long at least.
    first = max([cycles, *(s.passes * cycles + s.apart - cycles for s in buffers if s.passes > 1)])
    unfit, fit = first - 1, first
    while more := late(fit):
        unfit, fit = fit, fit + more
    # That is hardly more than it must be, so the first steps back are small.
    step = 1
    while fit - unfit > 1:
        nearer = max(fit - step, (unfit + fit) // 2)
        if late(nearer):
            unfit, step = nearer, 1
        else:
            fit, step = nearer, 2 * step
    return fit


def _repeats(times, cycles):
    """Whether the last of several frames is as the one before it."""
    return np.array_equal(times[-1], times[-2] + cycles)


def schedule(
    stages: tuple[Stage, ...],
    sources: Mapping[str, tuple[str, ...]],
    arrivals: np.ndarray,
    device: Device,
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Departures from all stages, and the depths that their buffers need for that."""
    by_name = {stage.name: stage for stage in stages}
    times, depths = {INPUT: arrivals}, {}
    for stage in stages:
        feeds = sources[stage.name]
        came = [times[feed] for feed in feeds]
        if isinstance(stage, FifoStage):
            # Whether it has any depth, what it feeds will tell.
            times[stage.name] = came[0]
            continue
        # A queue that is needed takes time itself, which may make others wait.
        queued = [False for _ in feeds]
        while True:
            offered = [
                t + Fifo.latency if late else t for t, late in zip(came, queued, strict=True)
            ]
            taken, times[stage.name], depth = stage.scheduled(offered, device, by_name)
            waits = [
                late or bool(np.any(went > t))
                for late, went, t in zip(queued, taken, offered, strict=True)
            ]
            if waits == queued:
                break
            queued = waits
        if depth is not None:
            depths[stage.name] = depth
        for feed, t, went, late in zip(feeds, came, taken, queued, strict=True):
            if isinstance(by_name.get(feed), FifoStage):
                depths[feed] = queue_depth(t, went) if late else 0
    return times, depths
