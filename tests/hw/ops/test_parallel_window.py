# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from tests.hw.ops.test_sliding_window import GEOMETRIES, reference, windows_of
from xnorflow.hw.ops.parallel_window import ParallelWindowUnit
from xnorflow.ir import Bit, UInt
from xnorflow.sim.pysim import transact


PLAIN = [(*each[:6], each[2], *each[7:8]) for each in GEOMETRIES if each[8:] in ((), (1,))]
"""Geometries without groups, in words of a pixel."""


def unit_of(w, spare=0):
    taps = w.kernel[0] * w.kernel[1] * w.source.channels
    return ParallelWindowUnit(w.source, w.axes, lanes=taps + spare), taps


def pixels(w, frames):
    return [{"lanes": pixel} for pixel in frames.reshape(-1, w.source.channels).tolist()]


@pytest.mark.parametrize(("value_type", "stall"), [(Bit(), 0.0), (UInt(3), 0.4)])
@pytest.mark.parametrize("geometry", PLAIN)
def test_a_window_a_word(geometry, value_type, stall):
    w = windows_of(geometry, value_type)
    frames = np.random.default_rng(1).integers(0, value_type.high + 1, (3, *w.source.shape))
    dut, taps = unit_of(w, spare=2)
    expected = np.reshape(list(reference(w, frames)), (-1, taps)).tolist()

    outputs = transact(dut, pixels(w, frames), len(expected), stall=stall)

    assert [list(word.lanes) for word in outputs] == [[*each, 0, 0] for each in expected]


@pytest.mark.parametrize("geometry", PLAIN)
def test_takes_a_pixel_every_cycle(geometry):
    w = windows_of(geometry, Bit())
    dut, _ = unit_of(w)
    frames = np.ones((3, *w.source.shape), int)
    cycles = 3 * dut.across.places * dut.down.places + dut.latency
    transact(dut, pixels(w, frames), 3 * w.rows * w.columns, max_cycles=cycles)


def test_rejects_words_that_hold_no_window():
    w = windows_of(PLAIN[0])
    with pytest.raises(ValueError, match=r"^Lanes must be at least the 36 values of a window"):
        ParallelWindowUnit(w.source, w.axes, lanes=35)
