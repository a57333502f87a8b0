"""Networks on inputs of every type, from numpy to what a simulated accelerator answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.hw.driving import run, words_of
from tests.hw.networks import First, input_net
from xnorflow.boards.host import Board
from xnorflow.boards.link import LinkTop
from xnorflow.errors import DataError
from xnorflow.frames import quantise
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import Bit, Int, Quantisation, UInt
from xnorflow.sim.simulate import first_difference, simulate
from xnorflow.sim.virtual_board import virtual_board
from xnorflow.sw.golden import golden


TYPES = [Bit(), *(UInt(bits) for bits in range(1, 17)), *(Int(bits) for bits in range(1, 17))]
CASES = [(kind, first) for kind in TYPES for first in First if first.takes(kind)]
QUICK = [
    (kind, first)
    for kind, first in CASES
    if isinstance(kind, Bit)
    or list(First)[kind.bits % (6 if isinstance(kind, Int) else 5)] is first
]
"""All kinds of nodes in front, and all types."""

VERILATED = [
    (Bit(), First.BINARY), (UInt(13), First.CONV), (Int(8), First.SIGNS), (Int(16), First.AFFINE),
]  # fmt: skip
"""One for each way in which a value may fill its bytes."""


def some(quick, cases):
    """Parameters of cases, of which only some are not slow."""
    return [pytest.param(*c, marks=() if c in quick else pytest.mark.slow) for c in cases]


def frames_of(frame, count=12):
    """Frames of both ends of the range, and of noise between and at them."""
    rng = np.random.default_rng(0)
    low, high = frame.type.low, frame.type.high
    ends = rng.choice([low, high, 0, max(low, -1)], (count // 2, *frame.shape))
    noise = rng.integers(low, high, (count - count // 2, *frame.shape), endpoint=True)
    return np.concatenate([np.full((1, *frame.shape), end) for end in (low, high)] + [ends, noise])


def test_the_frames_decide_something():
    """Else right scores would say nothing of the values."""
    few = []
    for kind, first in CASES:
        network = input_net(kind, first)
        scores = golden(network, frames_of(network.input)).scores
        if len(np.unique(scores, axis=0)) < 4:
            few.append((kind, first))
    assert few == []


@pytest.mark.parametrize(("kind", "first"), some(QUICK, CASES), ids=str)
def test_the_accelerator_equals_the_golden_model(kind, first):
    network = input_net(kind, first)
    design = fold(network, ECP5_85F, cycles=200)
    frames = frames_of(network.input, 4)
    words = [words_of(frame, design.input_lanes, spare=kind.high) for frame in frames]
    short = words[0][:3]

    _, results = run(design, [*words, short, *words], stall=0.2)

    expected = golden(network, np.concatenate([frames, frames]))
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()


@pytest.mark.parametrize(
    ("kind", "first"), some(VERILATED, dict.fromkeys(VERILATED + QUICK)), ids=str
)
def test_the_generated_verilog_equals_the_golden_model(kind, first, tmp_path):
    network = input_net(kind, first)
    frames = frames_of(network.input, 40)
    generate(fold(network, ECP5_85F, cycles=200), tmp_path)

    result = simulate(tmp_path, frames, cache=tmp_path)

    expected = golden(network, frames)
    labels, scores = expected.labels.numpy(), expected.scores.numpy()
    assert first_difference(result, labels, scores) is None
    with pytest.raises(DataError, match=r"^frames must have values from -?\d+ to \d+$"):
        simulate(tmp_path, frames + 1, cache=tmp_path)


@pytest.mark.parametrize(
    ("kind", "first"), [(Int(16), First.CONV), (UInt(9), First.THRESHOLD), (Bit(), First.BINARY)]
)
def test_the_host_link_takes_them_to_a_board(kind, first, tmp_path):
    network = input_net(kind, first)
    frames = frames_of(network.input)
    top = LinkTop(fold(network, ECP5_85F, cycles=200), clock=12_000_000, divisor=4)

    with (
        virtual_board(top, divisor=4, cache=tmp_path) as port,
        Board(port, timeout=60.0) as link,
    ):
        link.check(network)
        results = link.classify(frames)
        with pytest.raises(DataError, match=r"^frames must have values from -?\d+ to \d+$"):
            link.classify(frames + 1)

    expected = golden(network, frames)
    np.testing.assert_array_equal(results.scores, expected.scores.numpy())
    np.testing.assert_array_equal(results.labels, expected.labels.numpy())


def test_floats_become_the_same_integers_everywhere(tmp_path):
    quantisation = Quantisation(2.0**-5, 7)
    network = replace(input_net(Int(8), First.CONV), quantisation=quantisation)
    frames = np.random.default_rng(3).normal(size=(12, *network.input.shape))
    expected = golden(network, frames)
    integers = quantise(frames, network.input.type, quantisation)
    assert torch.equal(golden(network, integers).scores, expected.scores)
    design = fold(network, ECP5_85F, cycles=200)
    generate(design, tmp_path)

    simulated = simulate(tmp_path, frames, cache=tmp_path)
    top = LinkTop(design, clock=12_000_000, divisor=4)
    with (
        virtual_board(top, divisor=4, cache=tmp_path) as port,
        Board(port, timeout=60.0) as link,
    ):
        link.check(network)
        classified = link.classify(frames, quantisation=quantisation)

    np.testing.assert_array_equal(simulated.scores, expected.scores.numpy())
    np.testing.assert_array_equal(classified.scores, expected.scores.numpy())
