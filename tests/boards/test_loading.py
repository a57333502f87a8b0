import numpy as np
import pytest

from tests.hw.loading import DESIGN, FRAMES, NETWORK, OTHER
from tests.hw.networks import random_mlp
from xnorflow.boards.host import Board
from xnorflow.boards.link import LinkTop
from xnorflow.boards.protocol import Command, encode_request
from xnorflow.errors import LinkError
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.weights import load_image
from xnorflow.hw.ops.folding import Folding
from xnorflow.sim.virtual_board import Direction, Fault, FaultKind, virtual_board
from xnorflow.sw.golden import golden


DIVISOR = 4
PATIENCE = 60.0
IMAGE = load_image(DESIGN, OTHER)

# Bytes on the line: requests for the description and for the weights have 7 each.
LOAD = 14


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def start(faults=()):
        top = LinkTop(DESIGN, clock=12_000_000, divisor=DIVISOR)
        return virtual_board(top, divisor=DIVISOR, faults=faults, cache=cache)

    with start():
        pass  # compiled from now on
    return start


def check(link, network):
    link.check(network)
    results = link.classify(FRAMES)
    np.testing.assert_array_equal(results.scores, golden(network, FRAMES).scores.numpy())


def test_networks_are_loaded_in_turn(board):
    with board() as port, Board(port, baud=None, timeout=PATIENCE) as link:
        check(link, NETWORK)
        for network in (OTHER, NETWORK, OTHER):
            link.load(load_image(DESIGN, network))
            check(link, network)
        with pytest.raises(LinkError, match="the board has other weights than those of"):
            link.check(NETWORK)
        assert link.retries == 0


@pytest.mark.parametrize("kind", FaultKind)
def test_a_load_that_arrives_damaged_is_made_good(board, kind):
    # In each load, one byte: of the header, the digest, the rows, and the CRC.
    request = len(encode_request(1, Command.LOAD, IMAGE))
    places = [n * request + place for n, place in enumerate((3, 6, 25, request - 5))]
    faults = [Fault(Direction.TO_BOARD, LOAD + place, kind) for place in places]
    with board(faults) as port, Board(port, baud=None, timeout=2.0) as link:
        link.load(IMAGE)
        assert link.retries == len(places)
        check(link, OTHER)


def test_boards_do_not_sleep_before_a_load_is_read_back():
    network = random_mlp(3, side=8, widths=(6,), classes=2)
    slow = plan(network, {"fc1": Folding(1, 1), "fc2": Folding(1, 1)}, 1, DESIGN.device)
    top = LinkTop(slow, clock=12_000_000, divisor=DIVISOR)
    # Of its read-back, the virtual board sees nothing on its lines.
    assert slow.cycles_per_frame > 4 * 10 * DIVISOR
    with virtual_board(top, divisor=DIVISOR) as port, Board(port, baud=None, timeout=5.0) as link:
        link.load(load_image(slow))
        assert link.retries == 0


def test_frames_are_refused_while_there_are_no_weights(board):
    with board() as port, Board(port, baud=None, timeout=PATIENCE) as link:
        with pytest.raises(LinkError, match="does not answer: requests arrive damaged"):
            link.load(IMAGE[:-1] + b"\0")
        with pytest.raises(LinkError, match="refuses a request: no weights"):
            link.classify(FRAMES[:1])
        with pytest.raises(LinkError, match="the latest load failed"):
            link.check(OTHER)
        with pytest.raises(LinkError, match="refuses a request: bad length"):
            link.load(IMAGE[:-1])
        link.load(IMAGE)
        check(link, OTHER)


def test_a_load_for_another_design_is_not_sent(board):
    with board() as port, Board(port, baud=None, timeout=PATIENCE) as link:
        with pytest.raises(LinkError, match="these weights are for another design"):
            link.load(b"\0\0\0\0" + IMAGE[4:])
        check(link, NETWORK)
