"""When words move: latencies, and the room that buffers need to keep the rate.

Everything here follows from the steps alone, in clock cycles, without simulation. Times are arrays,
one for each word of whole frames, in order.
"""

from collections.abc import Mapping

import numpy as np

from xnorflow.errors import DesignError
from xnorflow.hw.argmax import ArgMax
from xnorflow.hw.dynamic import DynamicThreshold, DynamicTwoSlope, FrameBuffer
from xnorflow.hw.families.device import Device
from xnorflow.hw.integer_mvu import integer_mvu_latency
from xnorflow.hw.join import Add, Concat
from xnorflow.hw.mvu import mvu_latency
from xnorflow.hw.peak import HalvingMaxPool
from xnorflow.hw.pool import MaxPool, SumPool, pool_window
from xnorflow.hw.postprocess import TwoSlope, affine_latency
from xnorflow.hw.shortcut import PadChannels, Subsample
from xnorflow.hw.steps import (
    Accumulate,
    Append,
    Bend,
    Compare,
    Copy,
    Cut,
    Divide,
    DynamicBend,
    DynamicCompare,
    Gather,
    Hold,
    Merge,
    Multiply,
    Pad,
    Peak,
    Pool,
    Queue,
    Scale,
    Select,
    Skip,
    Slide,
    Step,
)
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.fork import Fork
from xnorflow.hw.streams.skid_buffer import SkidBuffer
from xnorflow.hw.streams.width_converter import WidthConverter
from xnorflow.hw.streams.width_divider import WidthDivider
from xnorflow.hw.streams.words import words_of
from xnorflow.hw.swu import SlidingWindowUnit
from xnorflow.hw.threshold import threshold_latency
from xnorflow.network import INPUT, BinaryConv


__all__ = ["buffer_depths", "busy", "departures", "passage", "registers", "single_period"]

_STEADY_FRAMES = 3
"""Frames after which what happens mostly repeats itself: one to fill up, and what it meets."""

_MOST_FRAMES = 12


def registers(step: Step, device: Device) -> int:
    """Registers that a word passes in a step, memories of activations not counted."""
    match step:
        case Gather():
            return WidthConverter.latency
        case Divide():
            return WidthDivider.latency
        case Copy():
            return Fork.latency
        case Cut():
            return SkidBuffer.latency
        case Queue():
            return Fifo.latency
        case Hold():
            return FrameBuffer.latency
        case DynamicCompare():
            return DynamicThreshold.latency
        case DynamicBend():
            return DynamicTwoSlope.latency
        case Slide():
            return SlidingWindowUnit.latency - 1  # the buffer takes one
        case Multiply(node=BinaryConv(), folding=folding):
            return mvu_latency(folding.simd, device.family) - 1  # the ring takes one
        case Multiply(folding=folding):
            return integer_mvu_latency(folding.simd) - 1
        case Pool():
            return MaxPool.latency
        case Peak():
            return HalvingMaxPool.latency
        case Accumulate():
            return SumPool.latency
        case Compare(node=node):
            return threshold_latency(node)
        case Scale(node=node):
            return affine_latency(node)
        case Bend():
            return TwoSlope.latency
        case Skip():
            return Subsample.latency
        case Pad():
            return PadChannels.latency
        case Merge():
            return Add.latency
        case Append():
            return Concat.latency
        case Select():
            return ArgMax.latency


def busy(step: Step) -> int:
    """Clock cycles for which a frame keeps a step busy."""
    match step:
        case Multiply():
            return step.cycles
        case Slide(windows=w):
            return max(w.frame_words, w.rows * w.columns * w.window_words)
        case Pad(node, source, lanes):
            return words_of(node.infer(source), lanes)
        case Append(node, source, other, lanes):
            return words_of(node.infer(source, other), lanes)
        case Hold(_, source, lanes, parameters, parameter_lanes):
            return max(words_of(source, lanes), words_of(parameters, parameter_lanes))
        case DynamicCompare(_, source, parameters, lanes) | DynamicBend(
            _, source, parameters, lanes
        ):
            return max(words_of(source, lanes), parameters.channels)
        case _:
            return words_of(step.source, step.lanes)


def passage(step: Step, arrivals: list[np.ndarray], device: Device) -> tuple[list, np.ndarray]:
    """Follow words through a step that nothing behind it holds up.

    Parameters
    ----------
    step : Step
        What they pass.
    arrivals : list of int array
        For each source of the step, the clock cycles in which its words are offered.
    device : Device
        What it is built for.

    Returns
    -------
    taken : list of int array
        The cycles in which they are taken.
    departures : int array
        The cycles in which words leave.
    """
    through = registers(step, device)
    times = arrivals[0]
    match step:
        case Gather(ratio=ratio, words=words):
            ends = np.append(np.arange(ratio, words, ratio), words) - 1
            return arrivals, times.reshape(-1, words)[:, ends].ravel() + through
        case Divide(ratio=ratio, words=words):
            # The first part of a word leaves when it has come, its others one by one.
            parts = np.arange(words) % ratio == 0
            first = np.tile(parts, len(times) // np.count_nonzero(parts))
            ready = np.full(len(first), np.iinfo(np.int64).min // 2)
            ready[first] = times
            done = _one_by_one(ready)
            return [done[first]], done + through
        case Slide(windows=w):
            starts = _one_by_one(_complete(w, times) + 1, w.window_words)
            return arrivals, _each(starts, np.arange(w.window_words)) + through
        case Multiply(synapse_fold=synapses, neuron_fold=neurons):
            # A word can be worked on one cycle after it came; a cycle works on one word.
            count = np.arange(len(times))
            work = count + count // synapses * synapses * (neurons - 1)
            worked = work + np.maximum.accumulate(times + 1 - work)
            last = worked[synapses - 1 :: synapses]
            return arrivals, _each(last, np.arange(neurons) * synapses) + through
        case Pool(node, source, lanes) | Accumulate(node, source, lanes):
            height, width = pool_window(node, source)
            rows = slice(height - 1, source.height // height * height, height)
            columns = slice(width - 1, source.width // width * width, width)
            return arrivals, _pixels(times, source, lanes)[:, rows, columns].ravel() + through
        case Peak(_, source, lanes):
            # The last window of an odd number ends with the frame.
            rows, columns = (
                np.minimum(np.arange(1, side + 1, 2), side - 1)
                for side in (source.height, source.width)
            )
            ends = _pixels(times, source, lanes)[:, rows][:, :, columns]
            return arrivals, ends.ravel() + through
        case Skip(node, source, lanes):
            kept = _pixels(times, source, lanes)[:, :: node.stride, :: node.stride]
            return arrivals, kept.ravel() + through
        case Pad(node, source, lanes):
            # Zeros before a pixel wait for its first word; those behind it, for nothing.
            words = times.reshape(-1, source.channels // lanes)
            before, after = node.before // lanes, node.after // lanes
            ready = np.concatenate(
                [np.repeat(words[:, :1], before, 1), words, np.repeat(words[:, -1:], after, 1)], 1
            )
            done = _one_by_one(ready.ravel())
            taken = done.reshape(ready.shape)[:, before : before + words.shape[1]]
            return [taken.ravel()], done + through
        case Merge():
            both = np.maximum(*arrivals)
            return [both, both], both + through
        case Append(_, source, other, lanes):
            parts = [
                t.reshape(-1, x.channels // lanes)
                for t, x in zip(arrivals, (source, other), strict=True)
            ]
            ready = np.concatenate(parts, axis=1)
            done = _one_by_one(ready.ravel())
            split = done.reshape(ready.shape)
            first = parts[0].shape[1]
            return [split[:, :first].ravel(), split[:, first:].ravel()], done + through
        case Hold(_, source, lanes, parameters, parameter_lanes):
            words = words_of(source, lanes)
            released = _frames(arrivals[1], words_of(parameters, parameter_lanes))[:, -1] + 1
            ready = np.maximum(times + through, np.repeat(released, words))
            return arrivals, _one_by_one(ready)
        case DynamicCompare() | DynamicBend():
            taken = _dynamic(step, *arrivals)
            return taken, taken[0] + through
        case Select(source=source, lanes=lanes):
            words = -(-source.channels // lanes)
            return arrivals, times[words - 1 :: words] + through
        case Copy() | Cut() | Queue() | Compare() | Scale() | Bend():
            return arrivals, times + through


def departures(
    steps: tuple[Step, ...],
    sources: Mapping[str, tuple[str, ...]],
    arrivals: np.ndarray,
    device: Device,
) -> np.ndarray:
    """Cycles in which words leave the last step, given those in which they enter the first ones.

    Nothing holds up any step; so they leave no later in hardware than words can.
    """
    times = {INPUT: arrivals}
    for step in steps:
        feeds = [times[source] for source in sources[step.name]]
        _, times[step.name] = passage(step, feeds, device)
    return times[steps[-1].name]


def buffer_depths(
    steps: tuple[Step, ...],
    sources: Mapping[str, tuple[str, ...]],
    words: int,
    cycles: int,
    device: Device,
    period: int | None = None,
) -> dict[str, int]:
    """Words that each `Slide`, `Hold` and `Queue` must hold for the pipeline to keep its rate.

    The depths are those that this schedule needs: the words of a frame come evenly spread over
    its cycles, and every step does its work as soon as it can. A frame begins every ``period``
    cycles, ``cycles`` if it is not given. A pipeline that is only held up by
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
        times, depths = _schedule(steps, sources, arrivals, device)
        if all(_repeats(t.reshape(frames, -1), period) for t in times.values()):
            return depths
    raise DesignError(f"the pipeline is not steady after {_MOST_FRAMES} frames")


def single_period(
    steps: tuple[Step, ...],
    sources: Mapping[str, tuple[str, ...]],
    words: int,
    cycles: int,
    device: Device,
) -> int:
    """Fewest cycles from frame to frame in which no `Hold` must hold more than a frame.

    The parameters are those of `buffer_depths`.
    """
    least = {s.name: words_of(s.source, s.lanes) for s in steps if isinstance(s, Hold)}

    def late(period):
        """About how many cycles too soon after each other frames come."""
        depths = buffer_depths(steps, sources, words, cycles, device, period)
        waits = ((depths[name] - depth, depth) for name, depth in least.items())
        return max((-(-more * cycles // depth) for more, depth in waits), default=0)

    unfit, fit = cycles - 1, cycles
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


def _schedule(steps, sources, arrivals, device):
    """Departures from all steps, and the depths that their buffers need for that."""
    by_name = {step.name: step for step in steps}
    times, depths = {INPUT: arrivals}, {}
    for step in steps:
        feeds = sources[step.name]
        came = [times[feed] for feed in feeds]
        if isinstance(step, Queue):
            # Whether it has any depth, what it feeds will tell.
            times[step.name] = came[0]
            continue
        if isinstance(step, Slide):
            multiply = by_name[step.node.name]
            depths[step.name] = _window_depth(step, multiply, came[0], device)
        if isinstance(step, Hold):
            _, ready = passage(step, came, device)
            words = words_of(step.source, step.lanes)
            times[step.name] = went = _postponed(came[0] + Fifo.latency, ready, words)
            depths[step.name] = max(words, _queue_depth(came[0], went))
            continue
        # A queue that is needed takes time itself, which may make others wait.
        queued = [False for _ in feeds]
        while True:
            offered = [
                t + Fifo.latency if late else t for t, late in zip(came, queued, strict=True)
            ]
            taken, times[step.name] = passage(step, offered, device)
            if isinstance(step, DynamicCompare | DynamicBend):
                words = words_of(step.source, step.lanes)
                even = _postponed(offered[0], taken[0], words)
                taken, times[step.name] = passage(step, [even, offered[1]], device)
            waits = [
                late or bool(np.any(went > t))
                for late, went, t in zip(queued, taken, offered, strict=True)
            ]
            if waits == queued:
                break
            queued = waits
        for feed, t, went, late in zip(feeds, came, taken, queued, strict=True):
            if isinstance(by_name.get(feed), Queue):
                depths[feed] = _queue_depth(t, went) if late else 0
    return times, depths


def _dynamic(step, arrivals, parameters):
    """Cycles in which a step takes words, and in which it takes parameters.

    It has room for those of two frames: the third's wait until the first is over.
    """
    words = _frames(arrivals, words_of(step.source, step.lanes))
    parameters = _frames(parameters, step.parameters.channels)
    taken, loaded = np.empty_like(words), np.empty_like(parameters)
    for n, (came, brought) in enumerate(zip(words, parameters, strict=True)):
        if n > 1:
            brought = np.maximum(brought, taken[n - 2, -1] + 1)
        if n > 0:
            brought = np.maximum(brought, loaded[n - 1, -1] + 1)
            came = np.maximum(came, taken[n - 1, -1] + 1)
        loaded[n] = _one_by_one(brought)
        taken[n] = _one_by_one(np.maximum(came, loaded[n, -1] + 1))
    return [taken.ravel(), loaded.ravel()]


def _frames(times, words):
    """Times of words, a row for each frame of so many."""
    return times.reshape(-1, words)


def _postponed(times, starts, words):
    """Times of words, each frame later by as much as its first word is.

    It could leave at once, in a burst, when it may leave at all. At the pace at which it came,
    those behind it need no room for bursts, and it is just as fast.
    """
    frames = _frames(times, words)
    late = np.maximum.accumulate(_frames(starts, words)[:, 0] - frames[:, 0])
    return (frames + np.maximum(late, 0)[:, None]).ravel()


def _one_by_one(ready, each=1):
    """Earliest times from ``ready`` on at which things are done in turn, ``each`` cycles apart."""
    turn = np.arange(len(ready)) * each
    return turn + np.maximum.accumulate(ready - turn)


def _each(times, delays):
    """Every time with every delay, in order."""
    return (times[:, None] + delays).ravel()


def _pixels(times, source, lanes):
    """Times of words as (frames, height, width, words)."""
    return times.reshape(-1, source.height, source.width, source.channels // lanes)


def _complete(w, arrivals):
    """Times at which the last word that a window needs has come, window by window."""
    needed = np.array([[w.needed(r, c) for c in range(w.columns)] for r in range(w.rows)])
    return arrivals.reshape(-1, w.frame_words)[:, needed.ravel() - 1].ravel()


def _window_depth(slide, multiply, arrivals, device):
    """Words that are kept at most, from their arrival to the end of the last row needing them."""
    w = slide.windows
    fold, turns = multiply.synapse_fold, multiply.neuron_fold
    through = registers(slide, device) + 1
    start, before, last = -fold, -fold * turns, -fold * turns
    starts = []
    for complete in _complete(w, arrivals).tolist():
        start = max(start + fold, complete + 1)
        if turns > 1:
            # The ring behind the windows holds two. The next one is read in while the one before
            # it waits or is worked on, and its predecessor is in its last turn.
            start = max(start, before + fold * (turns - 1))
        before, last = last, max(last + fold * turns, start + through)
        starts.append(start)
    ends = np.array(starts)[w.columns - 1 :: w.columns] + fold - 1
    released = [w.released(r) - w.first_row(r) * w.row_words for r in range(w.rows)]
    released = np.cumsum([0, *released * (len(ends) // w.rows)])
    kept = np.arange(1, len(arrivals) + 1) - released[np.searchsorted(ends, arrivals)]
    return max(w.least_depth, int(kept.max()))


def _queue_depth(came, went):
    """Words that a queue holds at most, its output register among them."""
    # A word moves to that register as soon as its predecessor leaves it.
    moved = np.maximum(came + 1, np.append(came[0], went[:-1]))
    waiting = np.arange(1, len(came) + 1) - np.searchsorted(moved, came)
    return 1 + int(waiting.max())
