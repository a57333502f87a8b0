import random
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.boards.line import DIVISOR, INFO, Bench, run, scores_of
from xnorflow.boards.protocol import Command, Info, Status, encode_request, packet
from xnorflow.frames import frame_bytes
from xnorflow.ir import FeatureMap, Int, UInt


FRAME = bytes([0, 1, 255, 7, 0, 200])
BYTE = 10 * DIVISOR  # clock cycles of a byte


def check_result(reply, sequence, frame=FRAME):
    """Check a reply to `Command.CLASSIFY`, and return its count of cycles."""
    assert (reply.sequence, reply.command) == (sequence, Command.CLASSIFY)
    assert reply.status is Status.OK
    label, cycles, *scores = struct.unpack(f"<II{INFO.classes}i", reply.body)
    assert label == sum(frame) % INFO.classes
    assert scores == scores_of(list(frame))
    return cycles


async def classify(host, sequence, frame=FRAME):
    """Send a good request, and check that its reply is the next one."""
    await host.send(encode_request(sequence, Command.CLASSIFY, frame))
    return check_result(await host.reply(), sequence, frame)


async def refused(host, status, *, sequence, command=Command.CLASSIFY):
    """Check that the next reply is a refusal."""
    reply = await host.reply()
    assert reply.status is status
    assert (reply.sequence, reply.command, reply.body) == (sequence, command, b"")


def test_tells_what_is_on_the_board():
    async def script(host):
        await host.send(encode_request(9, Command.INFO))
        reply = await host.reply()
        assert (reply.sequence, reply.command, reply.status) == (9, Command.INFO, Status.OK)
        assert Info.unpack(reply.body) == INFO

    run(Bench(), script)


@pytest.mark.parametrize("lanes", [1, 2, 4, 6])
@pytest.mark.parametrize("latency", [2, 40])
def test_classifies_and_counts_cycles(lanes, latency):
    async def script(host):
        for sequence in 1, 2:
            assert await classify(host, sequence) == latency

    run(Bench(replace(INFO, lanes=lanes), latency=latency), script)


def test_an_accelerator_may_take_its_time_for_a_word():
    async def script(host):
        for sequence in 1, 2:
            await host.send(encode_request(9, Command.CLASSIFY, FRAME[1:]))
            assert (await host.reply()).status is Status.BAD_LENGTH
            await classify(host, sequence)

    run(Bench(pace=BYTE - 1), script)


def test_narrow_pixels_are_the_low_bits():
    async def script(host):
        await host.send(encode_request(1, Command.CLASSIFY, FRAME))
        check_result(await host.reply(), 1, [pixel % 8 for pixel in FRAME])

    run(Bench(replace(INFO, frame=FeatureMap(2, 3, 1, UInt(3)))), script)


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize(
    ("value_type", "frame"),
    [
        (UInt(9), [0, 1, 511, 256, 0, 255]),
        (UInt(12), [4095, 0, 3, 0, 0, 257]),
        (Int(5), [-16, 15, 15, 0, -1, 15]),
        (Int(12), [-2048, 2047, 2047, 0, -1, 255]),
        (UInt(20), [0, 1 << 10, 3, 0, 1 << 9, 7]),
    ],
)
def test_wide_and_signed_pixels_take_whole_bytes(value_type, frame, lanes):
    info = replace(INFO, frame=FeatureMap(2, 3, 1, value_type), lanes=lanes)
    payload = frame_bytes(np.array(frame).reshape(1, 2, 3, 1), info.frame).tobytes()
    total = np.array(frame).sum() % (1 << 12)

    async def script(host):
        for sequence in 1, 2:
            await host.send(encode_request(sequence, Command.CLASSIFY, payload))
            check_result(await host.reply(), sequence, [total])
            await host.send(encode_request(9, Command.CLASSIFY, payload[1:]))
            await refused(host, Status.BAD_LENGTH, sequence=9)

    run(Bench(info), script)


def test_refuses_a_damaged_request_and_takes_its_repetition():
    good = encode_request(5, Command.CLASSIFY, FRAME)

    async def script(host):
        for at in range(3, len(good) - 1):  # everything but delimiters, first code and sequence
            bad = bytearray(good)
            bad[at] ^= 0x10 if bad[at] != 0x10 else 0x30
            await host.send(bad)
            reply = await host.reply()
            assert reply.status in (Status.BAD_CRC, Status.BAD_FRAMING)
            assert (reply.sequence, reply.body) == (5, b"")
            assert host.level("refused")
        await host.send(good)
        check_result(await host.reply(), 5)
        assert not host.level("refused")

    run(Bench(), script)


def test_a_lost_byte_costs_only_its_own_request():
    good = encode_request(5, Command.CLASSIFY, FRAME)

    async def script(host):
        for at in range(len(good)):
            await host.send(good[:at] + good[at + 1 :])
            await host.send(encode_request(6, Command.CLASSIFY, FRAME))
            reply = await host.reply()
            # Without one of its delimiters, the first request is still whole.
            if at in (0, len(good) - 1):
                check_result(reply, 5)
            else:
                assert reply.status in (Status.BAD_CRC, Status.BAD_FRAMING)
            check_result(await host.reply(), 6)

    run(Bench(), script)


def test_refuses_unknown_commands_and_wrong_lengths():
    async def script(host):
        await host.send(packet(bytes([3, 77, 1, 2])))
        await refused(host, Status.UNKNOWN_COMMAND, sequence=3, command=77)
        for frame in FRAME[:-1], b"", FRAME + b"x", FRAME * 9:
            await host.send(encode_request(4, Command.CLASSIFY, frame))
            await refused(host, Status.BAD_LENGTH, sequence=4)
        await host.send(encode_request(5, Command.INFO, b"x"))
        await refused(host, Status.BAD_LENGTH, sequence=5, command=Command.INFO)
        for content in b"", b"\x06", b"\x06\x02":
            await host.send(packet(content))
            assert (await host.reply()).status in (Status.UNKNOWN_COMMAND, Status.BAD_LENGTH)
        await classify(host, 7)

    run(Bench(), script)


def test_ignores_empty_packets():
    async def script(host):
        await host.send(bytes(5))
        await classify(host, 1)
        await host.silence()

    run(Bench(), script)


def test_an_abandoned_packet_ends_with_the_next_delimiter():
    good = encode_request(5, Command.CLASSIFY, FRAME)

    async def script(host):
        for length in range(2, len(good) - 1, 2):
            await host.send(good[:length])
            await host.drive(1, 5 * BYTE)
            await host.send(good)
            assert (await host.reply()).status in (Status.BAD_CRC, Status.BAD_FRAMING)
            check_result(await host.reply(), 5)

    run(Bench(), script)


@pytest.mark.parametrize("sent", [0, 1, 9])
def test_a_break_costs_only_the_packet_that_it_hits(sent):
    good = encode_request(5, Command.CLASSIFY, FRAME)

    async def script(host):
        await classify(host, 4)
        await host.send(good[:sent])
        await host.drive(0, 25 * BYTE)
        await host.drive(1, BYTE)
        await host.send(good)
        reply = await host.reply()
        assert (reply.status, reply.sequence) == (Status.BAD_FRAMING, 5 if sent > 2 else 0)
        check_result(await host.reply(), 5)

    run(Bench(), script)


def test_a_glitch_shorter_than_half_a_bit_is_not_a_byte():
    async def script(host):
        await host.drive(0, DIVISOR // 2 - 1)
        await host.drive(1, BYTE)
        await classify(host, 1)
        await host.silence()

    run(Bench(), script)


def test_an_endless_packet_does_not_block():
    rng = random.Random(1)

    async def script(host):
        await host.send(encode_request(1, Command.CLASSIFY, FRAME)[:-1])
        await host.send(rng.randrange(1, 256) for _ in range(300))
        await classify_after_refusals(host)

    run(Bench(), script)


def test_requests_without_a_pause_are_answered_in_order():
    """The second frame comes in while the reply to the first is being sent."""

    async def script(host):
        frames = [bytes([n, 0, 2 * n, 9, n, 1]) for n in (1, 2)]
        request = b"".join(
            encode_request(n, Command.CLASSIFY, frame) for n, frame in enumerate(frames, 1)
        )
        await host.send(request)
        for n, frame in enumerate(frames, 1):
            check_result(await host.reply(), n, frame)

    run(Bench(), script)


def test_a_bad_frame_does_not_touch_the_reply_before_it():
    async def script(host):
        await host.send(encode_request(1, Command.CLASSIFY, FRAME))
        await host.send(encode_request(2, Command.CLASSIFY, FRAME[1:])[:5] + b"\0")
        assert check_result(await host.reply(), 1) == 40

    run(Bench(latency=40), script)


def test_refusals_do_not_hold_up_the_next_request():
    """While a reply is being sent, what is refused gets no answer, and takes no time."""

    async def script(host):
        await host.send(encode_request(1, Command.CLASSIFY, FRAME))
        await host.send(b"\0bad\0" * 4)
        await host.send(encode_request(2, Command.CLASSIFY, FRAME))
        check_result(await host.reply(), 1)
        while (reply := await host.reply()).status is not Status.OK:
            pass
        check_result(reply, 2)

    run(Bench(), script)


def test_what_finds_no_room_is_refused_not_lost():
    """The accelerator takes longer than the line: there is no room for a second frame."""
    burst = [encode_request(n, Command.CLASSIFY, FRAME) for n in (1, 2, 3)]

    async def script(host):
        await host.send(b"".join(burst))
        check_result(await host.reply(), 1)
        await host.silence(80 * BYTE)
        await host.send(burst[2])
        assert (await host.reply()).status is Status.BAD_FRAMING
        check_result(await host.reply(), 3)

    run(Bench(latency=40 * BYTE), script)


def test_reset_in_mid_frame():
    async def script(host):
        await host.send(encode_request(1, Command.CLASSIFY, FRAME)[:8])
        await host.drive(0, 3 * DIVISOR)
        await host.reset()
        await host.drive(1, 2 * BYTE)
        await classify_after_refusals(host)

    run(Bench(), script)


async def classify_after_refusals(host, sequence=9):
    """Check that a good request is answered, whatever is refused before it."""
    await host.send(encode_request(sequence, Command.CLASSIFY, FRAME))
    while (reply := await host.reply()).status is not Status.OK:
        assert reply.body == b""
    check_result(reply, sequence)


noise = st.one_of(
    st.binary(max_size=30),
    st.builds(packet, st.binary(max_size=1)),
    st.builds(encode_request, st.just(3), st.sampled_from([0, 3, 200]), st.binary(max_size=20)),
    st.builds(
        lambda frame: encode_request(3, Command.CLASSIFY, frame),
        st.binary(max_size=12).filter(lambda frame: len(frame) != len(FRAME)),
    ),
    st.builds(lambda n: encode_request(4, Command.CLASSIFY, FRAME)[:n], st.integers(0, 10)),
    st.integers(1, 30 * DIVISOR),  # clock cycles for which the line is low
)


# Without shrinking: an example takes a second.
@settings(max_examples=10, phases=[Phase.generate])
@given(st.lists(st.lists(noise, max_size=4), min_size=4, max_size=8), st.sampled_from([1, 4]))
def test_whatever_comes_the_next_request_is_answered(sessions, lanes):
    async def script(host):
        for sequence, events in enumerate(sessions, 20):
            for event in events:
                if isinstance(event, int):
                    await host.drive(0, event)
                    await host.drive(1, BYTE)
                else:
                    await host.send(event)
            await classify_after_refusals(host, sequence)

    run(Bench(replace(INFO, lanes=lanes)), script)
