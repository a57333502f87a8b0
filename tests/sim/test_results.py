"""Networks that deliver scores without a label, or a single score, on the whole road."""

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.hw.driving import run, words_of
from tests.hw.networks import Result, result_net
from xnorflow.boards.host import Board
from xnorflow.boards.link import LinkTop
from xnorflow.cli import app
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import xnf
from xnorflow.sim.simulate import first_difference, simulate
from xnorflow.sim.virtual_board import virtual_board
from xnorflow.sw.golden import golden


def frames_of(network, count):
    return np.random.default_rng(1).integers(0, 256, (count, *network.input.shape), np.uint8)


def expected_of(network, frames):
    """Scores, and labels or None."""
    found = golden(network, frames)
    return found.scores.numpy(), None if found.labels is None else found.labels.numpy()


def test_the_sign_of_a_single_score_decides():
    network = result_net(Result.ONE_LABELLED)
    scores, labels = expected_of(network, frames_of(network, 400))
    assert labels.tolist() == [int(score >= 0) for score in scores[:, 0]]
    # The sign of all: below, at and above 0.
    assert set(np.sign(scores[:, 0])) == {-1, 0, 1}


@pytest.mark.parametrize("result", Result)
@pytest.mark.parametrize("cycles", [8, 80])
@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_the_accelerator_equals_the_golden_model(result, cycles, stall):
    network = result_net(result)
    design = fold(network, ECP5_85F, cycles=cycles)
    frames = frames_of(network, 12)
    words = [words_of(frame, design.input_lanes) for frame in frames]

    starts, results = run(design, [words[0], words[1][:1], *words[1:]], stall=stall)

    scores, labels = expected_of(network, frames)
    assert [found for _, _, found in results] == scores.tolist()
    assert [label for _, label, _ in results] == [None] * 12 if labels is None else labels.tolist()
    if not stall:
        assert results[0][0] - starts[0] == design.latency
        assert results[-1][0] - results[-2][0] == design.cycles_per_frame


@pytest.mark.parametrize("result", [Result.ONE_LABELLED, Result.INTEGERS])
def test_the_generated_verilog_equals_the_golden_model(result, tmp_path):
    network = result_net(result)
    frames = frames_of(network, 40)
    generate(fold(network, ECP5_85F, cycles=80), tmp_path)

    found = simulate(tmp_path, frames, cache=tmp_path)

    scores, labels = expected_of(network, frames)
    assert first_difference(found, labels, scores) is None
    assert (found.labels is None) == (labels is None)
    assert first_difference(found, labels, scores + 1) is not None


@pytest.mark.parametrize("result", [Result.ONE_LABELLED, Result.INTEGERS])
def test_the_host_link_brings_them_from_a_board(result, tmp_path):
    network = result_net(result)
    frames = frames_of(network, 8)
    top = LinkTop(fold(network, ECP5_85F, cycles=80), clock=12_000_000, divisor=4)

    with (
        virtual_board(top, divisor=4, cache=tmp_path) as port,
        Board(port, timeout=60.0) as link,
    ):
        link.check(network)
        found = link.classify(frames)

    scores, labels = expected_of(network, frames)
    np.testing.assert_array_equal(found.scores, scores)
    assert (found.labels is None) == (labels is None)
    if labels is not None:
        np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("result", [Result.ONE_LABELLED, Result.INTEGERS])
def test_the_command_line_shows_them(result, tmp_path):
    network = result_net(result)
    frames = frames_of(network, 2)
    xnf.save(network, tmp_path / "net.xnf")
    np.save(tmp_path / "frames.npy", frames)

    shown = CliRunner().invoke(
        app, ["eval", str(tmp_path / "net.xnf"), "--input", str(tmp_path / "frames.npy")]
    )

    scores, labels = expected_of(network, frames)
    for n in range(2):
        label = "" if labels is None else f"label {labels[n]}, "
        assert f"frame {n}: {label}scores {scores[n].tolist()}" in shown.output
