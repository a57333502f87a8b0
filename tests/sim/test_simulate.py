import dataclasses
import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from amaranth import Module

from tests.hw.networks import random_conv_net, random_mlp
from tests.random_residuals import random_residual
from tests.resnet import random_resnet
from xnorflow.errors import DataError, DesignError, FormatError, ToolError
from xnorflow.hw.compile import accelerator
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.folding import Folding
from xnorflow.hw.streams.guard import VerdictGate
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.ir import (
    INPUT,
    ArgMax,
    BinaryConv,
    Bit,
    Counts,
    FeatureMap,
    Network,
    Threshold,
)
from xnorflow.sim import simulate as simulate_module
from xnorflow.sim import verilate
from xnorflow.sim.simulate import SimulationResult, compile_accelerator, first_difference, simulate
from xnorflow.sw.golden import golden


NETWORK = random_mlp(2, side=5, widths=(10, 7), classes=4, popcount=True)
DESIGN = plan(
    NETWORK, {"fc1": Folding(4, 9), "fc2": Folding(3, 8), "fc3": Folding(2, 3)}, 3, ECP5_85F
)
FRAMES = np.random.default_rng(0).integers(0, 256, (500, 5, 5, 1), np.uint8)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("design")
    generate(DESIGN, path)
    return path


@pytest.fixture(scope="session")
def expected():
    execution = golden(NETWORK, FRAMES)
    return execution.labels.numpy(), execution.scores.numpy()


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("processes", [1, 2])
def test_all_scores_are_the_golden_ones(directory, cache, expected, stall, processes):
    seen = []
    result = simulate(
        directory,
        FRAMES,
        progress=lambda done, total: seen.append((done, total)),
        stall=stall,
        processes=processes,
        cache=cache,
    )
    assert first_difference(result, *expected) is None
    assert seen[-1] == (len(FRAMES), len(FRAMES))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    if stall == 0.0:
        assert result.cycles_per_frame == DESIGN.cycles_per_frame
        assert result.latency == DESIGN.latency


@pytest.mark.parametrize(
    ("frames", "cycles", "processes"),
    [(1, 1, 1), (15, 50_000, 1), (16, 50_000, 2), (400, 196, 1), (600, 196, 2)],
)
def test_frames_are_shared_by_how_long_they_take(frames, cycles, processes):
    assert simulate_module._worthwhile(frames, cycles) == processes


def test_behavioural_counts_take_the_same_cycles(tmp_path, cache, expected):
    assert "$countones" in generate(DESIGN, tmp_path, behavioural=True).read_text()
    result = simulate(tmp_path, FRAMES, processes=1, cache=cache)
    assert first_difference(result, *expected) is None
    assert result.cycles_per_frame == DESIGN.cycles_per_frame
    assert result.latency == DESIGN.latency


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_a_packet_may_hold_any_number_of_frames(tmp_path, cache, expected, stall):
    design = dataclasses.replace(DESIGN, frames_per_packet=FramesPerPacket.ANY)
    assert (design.latency, design.cycles_per_frame) == (DESIGN.latency, DESIGN.cycles_per_frame)
    generate(design, tmp_path)

    result = simulate(tmp_path, FRAMES, stall=stall, processes=2, cache=cache)

    assert first_difference(result, *expected) is None
    if stall == 0.0:
        assert result.cycles_per_frame == design.cycles_per_frame
        assert result.latency == design.latency


def test_a_frame_a_packet_takes_no_packets_of_several(tmp_path, cache):
    """What follows a frame's words without an end is not taken for the next frame."""
    generate(DESIGN, tmp_path)
    description = json.loads((tmp_path / "design.json").read_text())
    (tmp_path / "design.json").write_text(json.dumps(description | {"frames_per_packet": "any"}))
    with pytest.raises(ToolError, match=r"^the simulation failed: the accelerator dropped a good"):
        simulate(tmp_path, FRAMES, cache=cache)


@pytest.mark.parametrize(
    "seed", [3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(100, 122))]
)
def test_convolutions_equal_the_golden_model(seed, tmp_path):
    network = random_conv_net(seed, side=9, channels=3)
    try:
        design = fold(network, ECP5_85F, cycles=1500)
    except DesignError:  # none is that fast
        design = fold(network, ECP5_85F, cycles=15_000)
    frames = np.random.default_rng(seed).integers(0, 256, (40, *network.input.shape), np.uint8)
    generate(design, tmp_path)

    result = simulate(tmp_path, frames, cache=tmp_path)

    expected = golden(network, frames)
    labels, scores = expected.labels.numpy(), expected.scores.numpy()
    assert first_difference(result, labels, scores) is None
    assert result.cycles_per_frame == design.cycles_per_frame
    assert result.latency >= design.latency


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 214))
def test_residual_networks_equal_the_golden_model(seed, tmp_path):
    network = random_residual(seed, blocks=3)
    try:
        design = fold(network, ECP5_85F, cycles=700)
    except DesignError:  # none is that fast
        design = fold(network, ECP5_85F, cycles=5_000)
    frames = np.random.default_rng(seed).integers(0, 256, (40, *network.input.shape), np.uint8)
    generate(design, tmp_path)

    smooth = simulate(tmp_path, frames, processes=1, cache=tmp_path)
    stalled = simulate(tmp_path, frames, processes=1, stall=0.3, cache=tmp_path)

    expected = golden(network, frames)
    labels, scores = expected.labels.numpy(), expected.scores.numpy()
    assert first_difference(smooth, labels, scores) is None
    assert first_difference(stalled, labels, scores) is None
    assert smooth.cycles_per_frame == design.cycles_per_frame
    assert smooth.latency >= design.latency


@pytest.mark.slow
def test_resnet_20_equals_the_golden_model(tmp_path):
    network = random_resnet(0)
    design = fold(network, ECP5_85F, cycles=18_432)
    frames = np.random.default_rng(0).integers(0, 256, (8, *network.input.shape), np.uint8)
    generate(design, tmp_path)

    result = simulate(tmp_path, frames, processes=1, cache=tmp_path)

    expected = golden(network, frames)
    assert first_difference(result, expected.labels.numpy(), expected.scores.numpy()) is None
    assert result.cycles_per_frame == design.cycles_per_frame == 18_432


@pytest.mark.parametrize("value_type", [Counts(7), Bit()], ids=str)
def test_scores_may_be_counts_or_bits(tmp_path, value_type):
    """They come out as signed integers, the largest count too."""
    rng = np.random.default_rng(0)
    nodes = [BinaryConv("fc", INPUT, np.array([*np.eye(7), np.ones(7)]).reshape(8, 1, 1, 7) > 0)]
    if isinstance(value_type, Bit):
        nodes.append(Threshold("bits", "fc", np.full(8, 4)))
    nodes.append(ArgMax("label", nodes[-1].name))
    network = Network("bare", FeatureMap(1, 1, 7, Bit()), tuple(nodes), tuple("abcdefgh"))
    assert network.maps[network.scores].type == value_type
    frames = np.concatenate([np.ones((1, 1, 1, 7), int), rng.integers(0, 2, (40, 1, 1, 7))])
    generate(fold(network, ECP5_85F, cycles=16), tmp_path)

    result = simulate(tmp_path, frames, cache=tmp_path)

    expected = golden(network, frames)
    assert expected.scores.max() == value_type.high
    assert len(expected.labels.unique()) > 1
    labels, scores = expected.labels.numpy(), expected.scores.numpy()
    assert first_difference(result, labels, scores) is None


def test_few_frames_do_not_tell_the_rate(directory, cache):
    result = simulate(directory, FRAMES[:3], cache=cache)
    assert result.cycles_per_frame is None
    assert result.frames_per_second > 0


def test_a_design_is_compiled_once(directory, cache):
    program = compile_accelerator(directory, cache=cache)
    before = {file: file.stat().st_mtime_ns for file in cache.glob("[!.]*")}
    assert compile_accelerator(directory, cache=cache) == program
    assert {file: file.stat().st_mtime_ns for file in cache.glob("[!.]*")} == before
    assert program in before


def test_a_wrong_threshold_is_noticed(directory, cache):
    act = next(node for node in NETWORK.nodes if node.name == "act1")
    shifted = dataclasses.replace(act, thresholds=act.thresholds + (1 << act.fraction))
    nodes = tuple(shifted if node is act else node for node in NETWORK.nodes)
    execution = golden(dataclasses.replace(NETWORK, nodes=nodes), FRAMES)
    result = simulate(directory, FRAMES, cache=cache)
    difference = first_difference(result, execution.labels.numpy(), execution.scores.numpy())
    assert re.match(r"frame \d+: score \d is -?\d+, expected -?\d+ ", difference)


class LeakyGate(VerdictGate):
    """Takes results whether or not they can be passed on."""

    def elaborate(self, _platform):
        m = Module()
        m.d.comb += [
            self.o.p.eq(self.i.p),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(1),
            self.i_verdict.ready.eq(self.i.valid),
        ]
        return m


def test_a_missing_stall_is_noticed(tmp_path, cache, expected, monkeypatch):
    monkeypatch.setattr(accelerator, "VerdictGate", LeakyGate)
    generate(DESIGN, tmp_path)
    assert first_difference(simulate(tmp_path, FRAMES, cache=cache), *expected) is None
    message = r"^the simulation failed: m_axis_tvalid fell before the transfer$"
    with pytest.raises(ToolError, match=message):
        simulate(tmp_path, FRAMES, stall=0.4, cache=cache)


def test_a_deadlock_ends(directory, cache):
    message = r"^the simulation failed: no transfer in \d+ cycles, after 0 of 250 results$"
    with pytest.raises(ToolError, match=message):
        simulate(directory, FRAMES, stall=1.0, processes=2, cache=cache)


def test_first_difference_names_frame_and_score():
    scores = np.array([[1, 2], [3, 4], [5, 6]])
    result = SimulationResult(np.array([1, 1, 1]), scores, None, 9, 1.0)
    assert first_difference(result, result.labels, scores) is None
    wrong = scores + np.array([[0, 0], [0, 9], [1, 1]])
    assert first_difference(result, result.labels, wrong) == (
        "frame 1: score 1 is 4, expected 13 (1 of its 2 scores and 2 of 3 frames differ)"
    )
    labels = np.array([1, 1, 0])
    assert first_difference(result, labels, scores) == "frame 2: label 1, expected 0"


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (FRAMES[:0], r"there are no frames to simulate"),
        (
            FRAMES[:, :4],
            r"frames must be an array of integers of shape \(n, 5, 5, 1\), "
            r"not of uint8 of shape \(500, 4, 5, 1\)",
        ),
        (
            FRAMES.astype(np.float32),
            r"frames must be an array of integers of shape \(n, 5, 5, 1\), "
            r"not of float32 of shape \(500, 5, 5, 1\)",
        ),
    ],
)
def test_rejects_frames_that_do_not_fit(directory, cache, frames, message):
    with pytest.raises(DataError, match=f"^{message}$"):
        simulate(directory, frames, cache=cache)


def test_rejects_a_folder_without_an_accelerator(tmp_path):
    with pytest.raises(FormatError, match=r" holds no generated accelerator$"):
        simulate(tmp_path, FRAMES)
    (tmp_path / "design.json").write_text(json.dumps({"classes": 4}))
    with pytest.raises(FormatError, match=r"design\.json is damaged$"):
        simulate(tmp_path, FRAMES)


def test_says_why_nothing_can_be_compiled(tmp_path):
    broken = tmp_path / "accelerator.v"
    broken.write_text("module accelerator; nonsense endmodule")
    with pytest.raises(ToolError, match=r"^Verilator failed on .*accelerator\.v: %Error.*syntax"):
        compile_accelerator(tmp_path, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").glob("[!.]*")) == []


def test_says_when_the_cache_cannot_be_used(directory, tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FormatError, match=r"^the folder .*file cannot be created: File exists$"):
        compile_accelerator(directory, cache=file)


def test_of_several_simulations_one_compiles(tmp_path, monkeypatch):
    compiled = []

    def compile_(_verilator, _verilog, _top, _harness, program):
        time.sleep(0.2)
        compiled.append(program)
        program.write_text("program")

    monkeypatch.setattr(verilate, "_compile", compile_)
    (tmp_path / "top.v").write_text("module top; endmodule")
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(
                verilate.verilate, tmp_path / "top.v", "top", tmp_path / "top.v", tmp_path / "cache"
            )
            for _ in range(4)
        ]
    assert len(compiled) == 1
    assert {job.result() for job in jobs} == set(compiled)


def test_no_simulation_outlives_an_interruption(directory, cache, monkeypatch):
    """Not even if only this process gets the signal."""
    run, started = simulate_module._run, []

    def interrupt(command, report, running):
        if command[1].endswith("frames1"):
            # Waits in almost every cycle.
            return run([*command, "stall=999"], report, running)
        while not running:
            time.sleep(0.01)
        started.append(running[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate_module, "_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        simulate(directory, FRAMES, processes=2, cache=cache)
    assert started[0].returncode == -signal.SIGTERM
