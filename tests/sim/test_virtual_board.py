import resource
import time
from pathlib import Path

import numpy as np
import pytest

from tests.hw.networks import random_mlp
from xnorflow.boards.host import Board
from xnorflow.boards.link import LinkTop
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.folding import Folding
from xnorflow.ir.xnf import load
from xnorflow.sim.virtual_board import Direction, Fault, FaultKind, virtual_board
from xnorflow.sw.golden import golden


NETWORK = random_mlp(2, side=5, widths=(10, 7), classes=4)
DESIGN = plan(
    NETWORK, {"fc1": Folding(4, 9), "fc2": Folding(3, 8), "fc3": Folding(2, 3)}, 3, ECP5_85F
)
FRAMES = np.random.default_rng(0).integers(0, 256, (40, 5, 5, 1), np.uint8)
DIVISOR = 4

ZOO = Path(__file__).parents[2] / "zoo"
MNIST = Path(__file__).parent / "mnist_test_20.npz"
"""The first 20 images of MNIST's test set, with their labels."""

PATIENCE = 60.0
"""Seconds that a reply may take, however busy the machine is."""

# Bytes on the line: a request for the description has 7, for a frame of 25 pixels 32.
FIRST_FRAME = 7
REQUEST = 32


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def start(faults=()):
        top = LinkTop(DESIGN, clock=12_000_000, divisor=DIVISOR)
        return virtual_board(top, divisor=DIVISOR, faults=faults, cache=cache)

    with start():
        pass  # compiled from now on
    return start


def check(results):
    expected = golden(NETWORK, FRAMES)
    np.testing.assert_array_equal(results.scores, expected.scores.numpy())
    np.testing.assert_array_equal(results.labels, expected.labels.numpy())


def test_the_driver_classifies_frames(board):
    with board() as port, Board(port, baud=None, timeout=PATIENCE) as link:
        link.check(NETWORK)
        check(link.classify(FRAMES))
        assert link.retries == 0


def test_a_second_client_finds_the_board(board):
    with board() as port:
        for _ in range(2):
            with Board(port, baud=None, timeout=PATIENCE) as link:
                check(link.classify(FRAMES))


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize(
    ("direction", "number"),
    [
        (Direction.TO_BOARD, 3),  # the request for the description
        (Direction.TO_BOARD, FIRST_FRAME + 1),  # the first code of COBS
        (Direction.TO_BOARD, FIRST_FRAME + 12),
        (Direction.TO_BOARD, FIRST_FRAME + 5 * REQUEST + REQUEST - 3),  # a CRC
        (Direction.TO_HOST, 30),
        (Direction.TO_HOST, 90),
    ],
)
def test_a_spoilt_byte_is_noticed_and_made_good(board, direction, number, kind):
    with (
        board([Fault(direction, number, kind)]) as port,
        Board(port, baud=None, timeout=PATIENCE) as link,
    ):
        check(link.classify(FRAMES))
        assert link.retries >= 1


def test_a_bad_line_still_gives_right_results(board):
    rng = np.random.default_rng(3)
    kinds = list(FaultKind)
    faults = [
        Fault(direction, int(number), kinds[rng.integers(2)])
        for direction in Direction
        for number in np.cumsum(rng.integers(60, 160, 12))
    ]
    with board(faults) as port, Board(port, baud=None, timeout=2.0) as link:
        check(link.classify(FRAMES))
        assert link.retries >= 5


def test_an_idle_board_does_not_burn_a_core(board):
    def spent():
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    before = spent()
    with board() as port, Board(port, baud=None, timeout=PATIENCE) as link:
        link.classify(FRAMES[:1])
        time.sleep(3)
    assert spent() - before < 1.5


def test_a_network_of_the_zoo_reads_digits(tmp_path):
    network = load(ZOO / "mnist-tfc-sign.xnf")
    digits = np.load(MNIST)
    design = fold(network, UP5K, cycles=20_000)
    top = LinkTop(design, clock=12_000_000, divisor=DIVISOR)

    with (
        virtual_board(top, divisor=DIVISOR, cache=tmp_path) as port,
        Board(port, baud=None, timeout=PATIENCE) as link,
    ):
        link.check(network)
        results = link.classify(digits["images"])

    expected = golden(network, digits["images"])
    np.testing.assert_array_equal(results.scores, expected.scores.numpy())
    np.testing.assert_array_equal(results.labels, expected.labels.numpy())
    assert (results.labels == digits["labels"]).sum() >= 18
