"""Frames in shards, in the order in which they were, and each of them simulated once."""

import numpy as np
import pytest

from tests.hw.networks import random_mlp
from xnorflow.boards.targets import ICEBREAKER
from xnorflow.errors import DataError, ToolError
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.parallel import Workers
from xnorflow.sim import shards
from xnorflow.sim.shards import simulate_shards
from xnorflow.sim.simulate import SimulationResult


ONE = Workers(1)
FRAMES = np.arange(20 * 16, dtype=np.uint8).reshape(20, 4, 4, 1)


@pytest.fixture(scope="module")
def rtl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rtl")
    generate(fold(random_mlp(1), ICEBREAKER.device, cycles=16), folder)
    return folder


@pytest.fixture
def simulated(monkeypatch):
    """A simulation whose scores are the sums of frames; gives the sizes of shards that it got."""
    sizes = []

    def simulate(folder, frames, *, stall, seed, processes):
        sizes.append(len(frames))
        scores = frames.reshape(len(frames), -1).astype(np.int64)[:, :3]
        if scores[0, 0] == STOP:
            raise ToolError("a deadlock")
        return SimulationResult(scores.argmax(axis=1), scores, 16 + seed, 30 + seed, 1.0)

    monkeypatch.setattr(shards, "simulate", simulate)
    return sizes


STOP = 8 * 16
"""First pixel of the second shard."""


def test_shards_are_joined_in_order(rtl, simulated, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "STOP", None)
    seen = []
    result = simulate_shards(
        rtl, FRAMES, workers=ONE, store=tmp_path, progress=lambda *done: seen.append(done)
    )
    assert np.array_equal(result.scores, FRAMES.reshape(20, -1)[:, :3])
    assert np.array_equal(result.labels, [2] * 20)
    assert (result.cycles_per_frame, result.latency) == (16, 30)
    assert seen == [(8, 20), (16, 20), (20, 20)]
    # A run that ends well leaves nothing: the next one simulates.
    assert not list(tmp_path.iterdir())


def test_a_run_that_ended_early_goes_on(rtl, simulated, tmp_path, monkeypatch):
    with pytest.raises(ToolError, match=r"^a deadlock$"):
        simulate_shards(rtl, FRAMES, workers=ONE, store=tmp_path)
    assert simulated == [8, 8]
    monkeypatch.setitem(globals(), "STOP", None)
    result = simulate_shards(rtl, FRAMES, workers=ONE, store=tmp_path)
    assert simulated == [8, 8, 8, 4]
    assert np.array_equal(result.scores, FRAMES.reshape(20, -1)[:, :3])


def test_frames_that_do_not_fit_are_refused(rtl, tmp_path):
    with pytest.raises(DataError, match=r"^there are no frames to simulate$"):
        simulate_shards(rtl, FRAMES[:0], workers=ONE, store=tmp_path)
    with pytest.raises(DataError):
        simulate_shards(rtl, FRAMES[:, :3], workers=ONE, store=tmp_path)
