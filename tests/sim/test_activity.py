"""What simulations see of waits and of buffers."""

import json

import numpy as np
import pytest

from tests.report.cases import conv_design
from xnorflow.hw.compile.emit import generate, verilog_text
from xnorflow.hw.compile.ports import AxiPorts
from xnorflow.hw.ops.matrix import MatrixStage
from xnorflow.hw.ops.sliding_window import SlidingWindowStage
from xnorflow.sim.activity import read_activity
from xnorflow.sim.description import Description
from xnorflow.sim.simulate import simulate


DESIGN = conv_design(1000)
FRAMES = np.random.default_rng(0).integers(0, 256, (12, *DESIGN.network.input.shape), np.uint8)
WATCHED = AxiPorts(watched=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    generate(DESIGN, folder, behavioural=True, ports=WATCHED)
    return folder


@pytest.fixture(scope="module")
def activity(folder):
    return simulate(folder, FRAMES, processes=1, cache=folder).activity


def test_layers_wait_in_all_other_cycles(activity):
    """Of the period of a frame, a layer works for its own cycles, and then waits for words."""
    layers = [stage for stage in DESIGN.stages if isinstance(stage, MatrixStage)]
    assert layers
    for stage in layers:
        waits = activity.starved[stage.name].mean() + activity.held[stage.name].mean()
        assert 1 - waits == pytest.approx(stage.cycles / DESIGN.cycles_per_frame, abs=0.02)


def test_buffers_are_as_full_as_they_may_be(activity):
    """Sliding windows are counted, too."""
    assert any(isinstance(stage, SlidingWindowStage) for stage in DESIGN.stages)
    assert activity.fills.keys() == DESIGN.depths.keys()
    for name, fill in activity.fills.items():
        assert 1 <= fill <= DESIGN.depths[name]
    assert any(fill == DESIGN.depths[name] for name, fill in activity.fills.items())


def test_what_comes_too_fast_is_held(activity):
    """The input offers words all the time: the first buffer is full, and what fills it waits."""
    first = next(iter(DESIGN.depths))
    assert activity.starved[first].max() < 0.1
    assert activity.fills[first] == DESIGN.depths[first]


def test_a_pipeline_that_is_never_full_has_fills_alone(folder):
    found = simulate(folder, FRAMES[:1], processes=1, cache=folder).activity
    assert not found.starved
    assert not found.held
    assert found.fills.keys() == DESIGN.depths.keys()


def test_hardware_has_none_of_it(folder):
    plain = verilog_text(DESIGN)
    assert "fills" not in plain
    assert "waits;" not in plain
    assert "output [31:0] dropped_frames" in plain
    assert not list(folder.glob("component.xml"))
    description = json.loads((folder / "design.json").read_text())
    assert description.pop("watched")
    (folder / "plain").mkdir()
    (folder / "plain" / "design.json").write_text(json.dumps(description))
    assert read_activity(Description.load(folder / "plain"), []) is None
