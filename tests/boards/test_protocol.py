from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.boards.line import INFO
from tests.strategies import random_network
from xnorflow.boards.protocol import (
    Command,
    Info,
    PacketError,
    Status,
    cobs_decode,
    cobs_encode,
    decode_reply,
    encode_request,
    fingerprint,
    packet,
)
from xnorflow.ir import Bit, FeatureMap, Int, UInt


# Long runs without a zero, too: blocks of COBS are 254 bytes.
contents = st.lists(
    st.one_of(st.binary(max_size=40), st.integers(250, 512).map(lambda n: bytes([7]) * n)),
    max_size=5,
).map(b"\0".join)


@pytest.mark.parametrize(
    ("content", "encoded"),
    [
        ("", "01"),
        ("00", "01 01"),
        ("00 00", "01 01 01"),
        ("11 22 00 33", "03 11 22 02 33"),
        ("11 22 33 44", "05 11 22 33 44"),
        ("11 00 00 00", "02 11 01 01 01"),
    ],
)
def test_cobs_examples(content, encoded):
    """Examples from Wikipedia, "Consistent Overhead Byte Stuffing"."""
    assert cobs_encode(bytes.fromhex(content)) == bytes.fromhex(encoded)


@given(contents)
def test_cobs_goes_there_and_back(content):
    encoded = cobs_encode(content)
    assert 0 not in encoded
    assert len(encoded) <= len(content) + 1 + len(content) // 254
    assert cobs_decode(encoded) == content


@pytest.mark.parametrize("encoded", ["", "00", "05 11 22", "02", "02 00", "02 11 00"])
def test_cobs_refuses_damage(encoded):
    with pytest.raises(PacketError):
        cobs_decode(bytes.fromhex(encoded))


def test_request_bytes():
    """The example in docs/reference/link.md."""
    assert encode_request(1, Command.INFO).hex(" ") == "00 05 01 01 3e 1f 00"


@given(st.binary(max_size=300))
def test_reads_a_reply(body):
    encoded = packet(bytes([7, Command.INFO, Status.OK]) + body)
    reply = decode_reply(encoded[1:-1])
    assert (reply.sequence, reply.command, reply.status, reply.body) == (7, 1, Status.OK, body)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_notices_wrong_bits(body, data):
    encoded = bytearray(packet(bytes([7, Command.INFO, Status.OK]) + body)[1:-1])
    bits = st.integers(0, 8 * len(encoded) - 1)
    for bit in data.draw(st.sets(bits, min_size=1, max_size=3)):
        encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PacketError):
        decode_reply(bytes(encoded))


def test_refuses_an_unknown_status():
    with pytest.raises(PacketError, match=r"^a reply has the unknown status 99$"):
        decode_reply(packet(bytes([1, 1, 99]))[1:-1])


def test_info_goes_there_and_back():
    assert Info.unpack(INFO.pack()) == INFO


@pytest.mark.parametrize(
    ("value_type", "word"),
    [(UInt(8), 8), (UInt(16), 16), (Int(1), 257), (Int(16), 272), (Bit(), 1)],
)
def test_info_tells_the_type_of_a_pixel(value_type, word):
    info = replace(INFO, frame=FeatureMap(2, 3, 1, value_type))
    assert int.from_bytes(info.pack()[16:20], "little") == word
    pixel = Info.unpack(info.pack()).frame.type
    assert pixel == (UInt(1) if value_type == Bit() else value_type)


@pytest.mark.parametrize("word", [0, 256, 33, 512 + 8])
def test_refuses_a_pixel_that_there_is_not(word):
    body = INFO.pack()
    with pytest.raises(PacketError, match=r"^a description is damaged: "):
        Info.unpack(body[:16] + word.to_bytes(4, "little") + body[20:])


@pytest.mark.parametrize("labelled", [True, False])
def test_info_tells_whether_there_are_labels(labelled):
    info = replace(INFO, labelled=labelled)
    assert Info.unpack(info.pack()) == info


def test_a_long_name_is_cut_between_characters():
    long = Info(FeatureMap(1, 1, 1, UInt(8)), 2, 1, 12_000_000, 3, b"12345678", "é" * 40)
    assert Info.unpack(long.pack()).name == "é" * 16
    odd = Info(FeatureMap(1, 1, 1, UInt(8)), 2, 1, 12_000_000, 3, b"12345678", "x" + "é" * 40)
    assert Info.unpack(odd.pack()).name == "x" + "é" * 15


def test_refuses_a_short_info():
    with pytest.raises(PacketError, match=r"^a description of 43 bytes is too short$"):
        Info.unpack(INFO.pack()[:43])


def test_fingerprint_tells_networks_apart():
    assert fingerprint(random_network(1)) == fingerprint(random_network(1))
    assert fingerprint(random_network(1)) != fingerprint(random_network(2))
    assert len(fingerprint(random_network(1))) == 8
