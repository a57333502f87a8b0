"""Windows along the rows or the columns of a map, as a stream of pixels passes them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from amaranth import *

from xnorflow.hw.streams.times import one_by_one
from xnorflow.ir.windows import Axis


__all__ = ["Direction", "outside", "passed", "position", "window_cycles"]


@dataclass(frozen=True, eq=False)
class Direction:
    """Windows along the rows or the columns of a map, place by place.

    A place is a pixel, or lies behind the last one where windows reach beyond it.

    Attributes
    ----------
    axis : Axis
    side : int
        Pixels.
    """

    axis: Axis
    side: int

    @property
    def count(self):
        """Windows."""
        return self.axis.count(self.side)

    @property
    def places(self):
        """Pixels, and places behind them in which windows end."""
        return max(self.side, self.end)

    @property
    def end(self):
        """Place behind the last window."""
        return int(self.ends[-1]) + 1

    @cached_property
    def ends(self):
        """Places in which windows end."""
        return np.arange(self.count) * self.axis.stride - self.axis.before + self.axis.span - 1


def position(m, direction, place, last, step, name):
    """Facts that follow from a ``place`` along a direction; with each ``step`` it moves on.

    Those on which a step may depend, ``inside`` and ``delivers``, are registers.
    """
    axis = direction.axis
    phase = Signal(range(axis.stride), name=f"{name}_phase", init=axis.before % axis.stride)
    first, last_phase = int(direction.ends[0]), (axis.span - 1) % axis.stride
    next_place = Mux(last, 0, place + 1)
    next_phase = Mux(last, phase.init, Mux(phase == axis.stride - 1, 0, phase + 1))
    inside = Signal(name=f"{name}_inside", init=1)
    delivers = Signal(name=f"{name}_delivers", init=first == 0 and phase.init == last_phase)
    with m.If(step):
        m.d.sync += [
            phase.eq(next_phase),
            inside.eq(direction.places == direction.side or next_place < direction.side),
            delivers.eq(
                (next_phase == last_phase) & (next_place >= first) & (next_place < direction.end)
            ),
        ]
    return {
        "first": place == 0,
        "begins": phase == 0,
        "ends": phase == last_phase,
        "inside": inside,
        "delivers": delivers,
    }


def outside(across, down):
    """Whether a place is outside the frame: (rows, columns)."""
    rows, columns = (np.arange(each.places) >= each.side for each in (down, across))
    return rows[:, None] | columns


def _places(across, down):
    """Places in which windows end, as they are numbered in a frame."""
    return (down.ends[:, None] * across.places + across.ends).ravel()


def window_cycles(across, down, pace):
    """Clock cycles of a frame whose windows end at least ``pace`` cycles after each other."""
    places = _places(across, down)
    following = np.append(places[1:], across.places * down.places + places[0])
    return int(np.maximum(following - places, pace).sum())


def passed(arrivals, across, down, words=1, pace=1):
    """When the words of pixels are taken, and when windows end, if nothing else holds them up.

    Parameters
    ----------
    arrivals : int array
        When the words of pixels come.
    across, down : Direction
        Along the columns, and along the rows.
    words : int
        Words of a pixel.
    pace : int
        Cycles from the end of a window to that of the next one, at least.

    Returns
    -------
    taken : int array, of the shape of ``arrivals``
    ends : int array
        A cycle a word of a window.
    """
    inside = ~outside(across, down)
    frames = arrivals.size // (across.side * down.side * words)
    # Places outside need not wait for anything.
    ready = np.full((frames, *inside.shape, words), arrivals.min())
    ready[:, inside] = arrivals.reshape(frames, -1, words)
    if pace > 1:
        # One window after the other, each as soon as its last place could be passed.
        starts = np.arange(frames)[:, None] * across.places * down.places
        places = (starts + _places(across, down)).ravel()
        could = one_by_one(ready.ravel()).reshape(-1, words)[places, 0]
        work = np.append(0, np.cumsum(np.maximum(np.diff(places) * words, pace)))
        ready.reshape(-1, words)[places, 0] = work + np.maximum.accumulate(could - work)
    done = one_by_one(ready.ravel()).reshape(ready.shape)
    ends = done[:, down.ends][:, :, across.ends]
    return done[:, inside].ravel(), ends.ravel()
