"""When words move: arrays of clock cycles, one for each word of whole frames, in order."""

import numpy as np


__all__ = ["each", "frames_of", "one_by_one", "pixels_of", "postponed", "queue_depth"]


def one_by_one(ready, each=1):
    """Earliest times from ``ready`` on at which things are done in turn, ``each`` cycles apart."""
    turn = np.arange(len(ready)) * each
    return turn + np.maximum.accumulate(ready - turn)


def each(times, delays):
    """Every time with every delay, in order."""
    return (times[:, None] + delays).ravel()


def frames_of(times, words):
    """Times of words, a row for each frame of so many."""
    return times.reshape(-1, words)


def pixels_of(times, source, lanes):
    """Times of words as (frames, height, width, words)."""
    return times.reshape(-1, source.height, source.width, source.channels // lanes)


def postponed(times, starts, words):
    """Times of words, each frame later by as much as its first word is.

    It could leave at once, in a burst, when it may leave at all. At the pace at which it came,
    those behind it need no room for bursts, and it is just as fast.
    """
    frames = frames_of(times, words)
    late = np.maximum.accumulate(frames_of(starts, words)[:, 0] - frames[:, 0])
    return (frames + np.maximum(late, 0)[:, None]).ravel()


def queue_depth(came, went):
    """Words that a queue holds at most, its output register among them."""
    # A word moves to that register as soon as its predecessor leaves it.
    moved = np.maximum(came + 1, np.append(came[0], went[:-1]))
    waiting = np.arange(1, len(came) + 1) - np.searchsorted(moved, came)
    return 1 + int(waiting.max())
