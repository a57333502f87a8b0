"""When words move: latencies, and the room that buffers need to keep the rate.

Everything here follows from the steps alone, in clock cycles, without simulation.
"""

from itertools import pairwise

from xnorflow.hw.argmax import ArgMax
from xnorflow.hw.device import Device
from xnorflow.hw.integer_mvu import integer_mvu_latency
from xnorflow.hw.mvu import mvu_latency
from xnorflow.hw.pool import MaxPool
from xnorflow.hw.postprocess import affine_latency
from xnorflow.hw.steps import Compare, Gather, Multiply, Pool, Scale, Select, Slide, Step
from xnorflow.hw.stream import WidthConverter
from xnorflow.hw.swu import SlidingWindowUnit
from xnorflow.hw.threshold import threshold_latency
from xnorflow.network import BinaryConv


__all__ = ["buffer_depths", "departures", "registers"]

_STEADY_FRAMES = 3
"""Frames after which what happens repeats itself: one to fill up, and what it meets."""


def registers(step: Step, device: Device) -> int:
    """Registers that a word passes in a step, memories of activations not counted."""
    match step:
        case Gather():
            return WidthConverter.latency
        case Slide():
            return SlidingWindowUnit.latency - 1  # the buffer takes one
        case Multiply(node=BinaryConv(), folding=folding):
            return mvu_latency(folding.simd, device.family) - 1  # the ring takes one
        case Multiply(folding=folding):
            return integer_mvu_latency(folding.simd) - 1
        case Pool():
            return MaxPool.latency
        case Compare(node=node):
            return threshold_latency(node)
        case Scale(node=node):
            return affine_latency(node)
        case Select():
            return ArgMax.latency


def departures(step: Step, arrivals: list[int], device: Device) -> list[int]:
    """Clock cycles in which words leave a step, given those in which they come.

    ``arrivals`` are those of the words of whole frames, in order. Nothing behind the step holds it
    up.
    """
    through = registers(step, device)
    match step:
        case Gather(ratio=ratio, words=words):
            complete = [
                time
                for start in range(0, len(arrivals), words)
                for time in _last_of_groups(arrivals[start : start + words], ratio)
            ]
            return [time + through for time in complete]
        case Slide(windows=w):
            starts = _window_starts(w, arrivals)
            return [start + n + through for start in starts for n in range(w.window_words)]
        case Multiply(synapse_fold=synapse_fold, neuron_fold=neuron_fold):
            leave, worked = [], -1
            for start in range(0, len(arrivals), synapse_fold):
                # A word can be worked on one cycle after it came; a cycle works on one word.
                for time in arrivals[start : start + synapse_fold]:
                    worked = max(worked, time) + 1
                leave += [worked + n * synapse_fold + through for n in range(neuron_fold)]
                worked += (neuron_fold - 1) * synapse_fold
            return leave
        case Pool(node=node, source=source, lanes=lanes):
            words = source.channels // lanes
            rows, columns = source.height // node.size, source.width // node.size
            return [
                arrivals[frame + (r * source.width + c) * words + word] + through
                for frame in range(0, len(arrivals), source.height * source.width * words)
                for r in range(node.size - 1, rows * node.size, node.size)
                for c in range(node.size - 1, columns * node.size, node.size)
                for word in range(words)
            ]
        case Select(source=source, lanes=lanes):
            words = -(-source.channels // lanes)
            return [time + through for time in arrivals[words - 1 :: words]]
        case Compare() | Scale():
            return [time + through for time in arrivals]


def buffer_depths(
    steps: tuple[Step, ...], words: int, cycles: int, device: Device
) -> dict[str, int]:
    """Words that the buffer of each `Slide` must hold for the pipeline to keep its rate.

    The depths are those that this schedule needs: the words of a frame come evenly spread over
    its cycles, and every step does its work as soon as it can. A pipeline that is only held up by
    buffers of these depths is nowhere later than that, since its units never wait without need;
    so it takes no more than ``cycles`` a frame, however the ``words`` of its input come.
    """
    times = [
        frame * cycles + word * cycles // words
        for frame in range(_STEADY_FRAMES)
        for word in range(words)
    ]
    depths = {}
    for step, following in pairwise(steps):
        if isinstance(step, Slide):
            depths[step.name] = _depth(step, following, times, device)
        times = departures(step, times, device)
    return depths


def _window_starts(w, arrivals):
    """Clock cycles in which the windows' first words are read."""
    starts, start = [], -w.window_words
    for frame in range(0, len(arrivals), w.frame_words):
        for r in range(w.rows):
            for c in range(w.columns):
                start = max(start + w.window_words, arrivals[frame + w.needed(r, c) - 1] + 1)
                starts.append(start)
    return starts


def _depth(slide, multiply, arrivals, device):
    """Words that are kept at most, from their arrival to the end of the last row needing them."""
    w = slide.windows
    fold, turns = multiply.synapse_fold, multiply.neuron_fold
    start, before, last = -fold, -fold * turns, -fold * turns
    releases = []
    for frame in range(0, len(arrivals), w.frame_words):
        for r in range(w.rows):
            for c in range(w.columns):
                start = max(start + fold, arrivals[frame + w.needed(r, c) - 1] + 1)
                if turns > 1:
                    # The ring behind the windows holds two. The next one is read in while the
                    # one before it waits or is worked on, and its predecessor is in its last turn.
                    start = max(start, before + fold * (turns - 1))
                work = max(last + fold * turns, start + registers(slide, device) + 1)
                before, last = last, work
            kept = w.first_row(r) * w.row_words
            releases.append((start + fold - 1, w.released(r) - kept))
    deepest = released = done = 0
    for count, time in enumerate(arrivals, 1):
        while done < len(releases) and releases[done][0] < time:
            released += releases[done][1]
            done += 1
        deepest = max(deepest, count - released)
    return max(w.least_depth, deepest)


def _last_of_groups(times, size):
    """Times of the last word of each group of ``size``; the last group may have fewer."""
    return [times[min(n + size, len(times)) - 1] for n in range(0, len(times), size)]
