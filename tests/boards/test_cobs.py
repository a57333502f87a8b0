import random
from itertools import product

import pytest

from xnorflow.boards.cobs import CobsDecoder, CobsEncoder
from xnorflow.boards.protocol import cobs_encode
from xnorflow.sim.pysim import transact


def contents(seed):
    """Packets around the block length of 254: with some zeros, and none."""
    rng = random.Random(seed)
    for length, rarity in product([0, 1, 254, 255, 508], [9, None]):
        yield bytes(
            0 if rarity and rng.randrange(rarity) == 0 else rng.randrange(1, 256)
            for _ in range(length)
        )


def tokens(content):
    return [{"data": byte, "end": 0} for byte in content] + [{"data": 0, "end": 1}]


def received(encoded, lost=()):
    return [{"data": byte, "lost": n in lost} for n, byte in enumerate(encoded)]


def decode(encoded, count, *, lost=(), stall=0.0):
    """Tokens that the decoder delivers: bytes, and for an end whether there was an error."""
    outputs = transact(CobsDecoder(), received(encoded, lost), count, stall=stall)
    return [bool(out.error) if out.end else bytes([out.data]) for out in outputs]


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_encoder_does_as_the_host(stall):
    packets = list(contents(1))
    expected = b"".join(b"\0" + cobs_encode(content) + b"\0" for content in packets)
    inputs = [token for content in packets for token in tokens(content)]
    assert (
        bytes(transact(CobsEncoder(), inputs, len(expected), stall=stall, max_cycles=40_000))
        == expected
    )


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_decoder_undoes_what_the_host_does(stall):
    packets = list(contents(2))
    encoded = b"".join(b"\0" + cobs_encode(content) + b"\0" for content in packets)
    expected = []
    for content in packets:
        expected += [bytes([byte]) for byte in content] + [False]
    assert decode(encoded, len(expected), stall=stall) == expected


def test_decoder_ignores_empty_packets():
    assert decode(b"\0\0\0\x02a\0\0\0\x02b\0\0", 4) == [b"a", False, b"b", False]


@pytest.mark.parametrize(
    ("encoded", "delivered"),
    [
        (b"\x03a", b"a"),
        (b"\x02", b""),
        (b"\x02a\x04b", b"a\0b"),
        (b"\xff" + b"a" * 253, b"a" * 253),
    ],
)
def test_decoder_marks_a_packet_that_ends_inside_a_block(encoded, delivered):
    expected = [*(bytes([byte]) for byte in delivered), True, b"c", False]
    assert decode(encoded + b"\0" + b"\x02c\0", len(expected)) == expected


@pytest.mark.parametrize("at", range(5))
def test_decoder_delivers_nothing_after_a_loss_but_the_end(at):
    good = [b"a", b"\0", b"b", b"c", False]
    encoded = b"\x02a\x03bc\0"
    delivered = {0: [], 1: [], 2: [b"a"], 3: [b"a", b"\0"], 4: [b"a", b"\0", b"b"]}[at]
    expected = [*delivered, True, *good]
    assert decode(encoded + encoded, len(expected), lost={at}) == expected


def test_decoder_takes_a_delimiter_after_a_loss():
    assert decode(b"\x02a\0\x02b\0", 4, lost={2}) == [b"a", True, b"b", False]
    assert decode(b"\x02a\0\0\x02b\0", 5, lost={3}) == [b"a", False, True, b"b", False]
