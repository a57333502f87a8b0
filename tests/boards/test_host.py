import errno
import os
import re
import struct
import threading
import time
import tty
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from tests.boards.line import INFO, Bench, run, scores_of
from tests.strategies import random_network
from xnorflow.boards.host import Board
from xnorflow.boards.protocol import Command, Status, cobs_decode, fingerprint, packet
from xnorflow.errors import DataError, LinkError
from xnorflow.ir import FeatureMap, UInt


FRAMES = np.random.default_rng(1).integers(0, 256, (5, 2, 3, 1), dtype=np.uint8)


@contextmanager
def terminal(serve):
    """Pseudo-terminal, with ``serve(descriptor, stop)`` in a thread at the other end of it."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(ours, stop))
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        stop.set()
        thread.join()
        os.close(ours)
        os.close(theirs)


def read_available(descriptor):
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""


def board(answer, info=INFO):
    """Serve a board in Python.

    ``answer(n, request, reply)`` says what is sent for the n-th request, of which ``reply`` is the
    right reply.
    """

    def serve(descriptor, stop):
        received, count = b"", 0
        while not stop.is_set():
            received += read_available(descriptor)
            encoded, delimiter, rest = received.partition(b"\0")
            if not delimiter:
                time.sleep(0.001)
                continue
            received = rest
            if encoded:
                request = cobs_decode(encoded)[:-2]
                os.write(descriptor, answer(count, request, reply_to(request, info)))
                count += 1

    return terminal(serve)


def reply_to(request, info):
    sequence, command = request[:2]
    if command == Command.INFO:
        body = info.pack()
    else:
        pixels = list(request[2:])
        body = struct.pack("<II3i", sum(pixels) % 3, 11, *scores_of(pixels))
    return packet(bytes([sequence, command, Status.OK]) + body)


def refusal(request, status):
    return packet(bytes([request[0], request[1], status]))


def damaged(reply):
    return reply[:-2] + bytes([reply[-2] ^ 0x41]) + reply[-1:]


def check(results, frames=FRAMES):
    assert results.scores.tolist() == [scores_of(frame) for frame in frames]
    assert results.labels.tolist() == [int(frame.sum()) % 3 for frame in frames]


def test_classifies_and_says_how_far_it_is():
    done = []
    with board(lambda _n, _request, reply: reply) as port, Board(port, baud=None) as link:
        assert link.info == INFO
        results = link.classify(FRAMES, progress=done.append)
    check(results)
    assert results.cycles.tolist() == [11] * 5
    assert done == [1, 2, 3, 4, 5]
    assert link.retries == 0


def test_more_requests_than_sequence_numbers():
    frames = np.resize(FRAMES, (600, 2, 3, 1))
    with board(lambda _n, _request, reply: reply) as port, Board(port, baud=None) as link:
        check(link.classify(frames), frames)


@pytest.mark.parametrize(
    "fault",
    [
        lambda _request, _reply: b"",
        lambda _request, reply: damaged(reply),
        lambda _request, reply: reply[:10] + reply[11:],
        lambda request, _reply: refusal(request, Status.BAD_CRC),
        lambda request, _reply: refusal(request, Status.BAD_FRAMING),
    ],
    ids=["no reply", "damaged reply", "byte lost", "request damaged", "request incomplete"],
)
def test_asks_again(fault):
    def answer(n, request, reply):
        return fault(request, reply) if n % 2 else reply

    with board(answer) as port, Board(port, baud=None, timeout=0.4) as link:
        check(link.classify(FRAMES))
    assert link.retries >= 5


@pytest.mark.parametrize(
    "disturb",
    [
        lambda _request, reply: reply + reply,
        lambda request, reply: packet(bytes([request[0] ^ 1, 2, 0]) + b"late") + reply,
        lambda request, reply: packet(bytes([request[0], 3 - request[1], 0]) + b"other") + reply,
        lambda _request, reply: packet(bytes([0, 0, Status.BAD_CRC])) + reply,
        lambda _request, reply: b"\0\0" + reply + b"\0",
    ],
    ids=["twice", "late", "other command", "noise refused", "empty packets"],
)
def test_is_not_irritated_by_other_replies(disturb):
    def answer(_n, request, reply):
        return disturb(request, reply)

    with board(answer) as port, Board(port, baud=None) as link:
        check(link.classify(FRAMES))
    assert link.retries == 0


def test_noise_before_the_first_reply_costs_a_repetition():
    def answer(n, _request, reply):
        return b"boot noise" + reply if n == 0 else reply

    with board(answer) as port, Board(port, baud=None) as link:
        check(link.classify(FRAMES))
    assert link.retries == 1


def fails(answer, message, *, info=INFO, **options):
    with board(answer, info) as port:
        expected = f"^{re.escape(port)}: {message}$"
        with pytest.raises(LinkError, match=expected), Board(port, **options) as link:
            link.classify(FRAMES)


def test_gives_up_on_silence():
    fails(
        lambda _n, _request, _reply: b"",
        r"the board does not answer: no reply within 0\.05 s",
        timeout=0.05,
    )


def test_gives_up_on_damage():
    fails(
        lambda _n, _request, reply: damaged(reply),
        "the board does not answer: the CRC of a reply does not match",
    )
    fails(
        lambda _n, request, _reply: refusal(request, Status.BAD_CRC),
        "the board does not answer: requests arrive damaged",
    )


def test_does_not_repeat_what_is_refused_for_good():
    def answer(n, request, reply):
        assert n < 2
        return refusal(request, Status.BAD_LENGTH) if n else reply

    fails(answer, "the board refuses a request: bad length")


def test_refuses_another_version():
    fails(
        lambda _n, _request, reply: reply,
        "the board speaks version 2 of the protocol, this program version 1",
        info=replace(INFO, version=2),
    )


def test_refuses_a_result_of_a_wrong_length():
    def answer(n, request, reply):
        return packet(bytes([*request[:2], Status.OK]) + b"short") if n else reply

    fails(answer, "a result has 5 bytes, not 20")


def test_says_when_the_connection_breaks():
    def serve(descriptor, _stop):
        while not (request := read_available(descriptor)):
            time.sleep(0.001)
        os.write(descriptor, reply_to(cobs_decode(request[1:-1])[:-2], INFO))

    ours, theirs = os.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    thread = threading.Thread(target=serve, args=(ours, None))
    thread.start()
    port = os.ttyname(theirs)
    with Board(port, baud=None) as link:
        thread.join()
        os.close(theirs)
        os.close(ours)
        with pytest.raises(LinkError, match=f"^{port}: the connection broke: "):
            link.classify(FRAMES)


def test_says_that_a_port_cannot_be_opened(tmp_path):
    port = str(tmp_path / "none")
    message = f"^{re.escape(port)} cannot be opened: No such file or directory$"
    with pytest.raises(LinkError, match=message):
        Board(port, baud=None)


@pytest.fixture
def no_fast_terminals(monkeypatch):
    """Terminals as on macOS: what is faster than the constants of termios is refused."""

    def refuse(*_):
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    monkeypatch.delattr("termios.B1000000", raising=False)
    monkeypatch.setattr("serial.Serial.BAUDRATE_CONSTANTS", {})
    monkeypatch.setattr("serial.Serial._set_special_baudrate", refuse)


@pytest.mark.usefixtures("no_fast_terminals")
def test_a_line_without_a_rate_is_opened_without_one():
    with board(lambda _n, _request, reply: reply) as port:
        with pytest.raises(LinkError, match=f"^{port} cannot be opened: Inappropriate ioctl for "):
            Board(port)
        with Board(port, baud=None) as link:
            check(link.classify(FRAMES))


def test_a_port_belongs_to_one_program():
    with (
        board(lambda _n, _request, reply: reply) as port,
        Board(port, baud=None),
        pytest.raises(LinkError, match=f"^{port} cannot be opened: "),
    ):
        Board(port, baud=None)


def test_refuses_frames_of_another_shape():
    with board(lambda _n, _request, reply: reply) as port, Board(port, baud=None) as link:
        with pytest.raises(DataError, match=r"^frames must be an array of integers of shape"):
            link.classify(FRAMES[:, :, :2])
        check(link.classify(FRAMES))


def test_checks_which_network_is_on_the_board():
    right, other = random_network(1), random_network(2)
    info = replace(INFO, fingerprint=fingerprint(right), name=right.name)
    with board(lambda _n, _request, reply: reply, info) as port, Board(port, baud=None) as link:
        link.check(right)
        message = (
            f"^{port}: the board runs another network \\(random-1\\) than random-2: "
            "build and load its bitstream$"
        )
        with pytest.raises(LinkError, match=message):
            link.check(other)


def test_talks_to_the_gateware():
    """The driver, and the link in Amaranth's simulator, through a pseudo-terminal."""

    def serve(descriptor, stop):
        async def relay(host):
            lost = 0
            while not stop.is_set():
                content = read_available(descriptor)
                lost += 1 if content else 0
                # The second request loses a byte.
                await host.send(content if lost != 2 else content[:7] + content[8:])
                if not content:
                    await host.drive(1, 100)
                while host.packets:
                    os.write(descriptor, b"\0" + host.packets.pop(0) + b"\0")

        run(Bench(), relay)

    with terminal(serve) as port, Board(port, baud=None, timeout=20.0) as link:
        assert link.info == INFO
        check(link.classify(FRAMES))
        assert link.retries == 1


def slow_board(delay):
    """A line that takes 4 KiB and then pauses, and answers a request when it is over."""
    info = replace(INFO, frame=FeatureMap(300, 200, 1, UInt(8)))

    def serve(descriptor, stop):
        received = b""
        while not stop.is_set():
            received += read_available(descriptor)
            *packets, received = received.split(b"\0")
            for encoded in filter(None, packets):
                os.write(descriptor, reply_to(cobs_decode(encoded)[:-2], info))
            time.sleep(delay)

    return terminal(serve)


def test_a_request_may_take_as_long_as_the_line_needs():
    """Sending takes longer than a reply may take beyond it."""
    frames = np.zeros((1, 300, 200, 1), np.uint8)
    with slow_board(0.05) as port, Board(port, baud=20_000, timeout=0.3) as link:
        results = link.classify(frames)
    assert results.labels.tolist() == [0]
    assert link.retries == 0


def test_says_that_nothing_takes_what_is_sent():
    with slow_board(0.05) as port, Board(port, baud=10_000_000, timeout=0.1) as link:
        frames = np.zeros((1, 300, 200, 1), np.uint8)
        with pytest.raises(LinkError, match=f"^{re.escape(port)}: nothing takes what is sent$"):
            link.classify(frames)
