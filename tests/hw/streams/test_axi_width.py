# amaranth: UnusedElaboratable=no
import random

import pytest

from xnorflow.hw.streams.axi_width import InputGearbox, ResultSerialiser, word_times
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.sim.pysim import transact


ONE, ANY = FramesPerPacket

# Bytes of a transfer, of a word and of a frame.
SIZES = [(4, 1, 6), (4, 3, 12), (4, 3, 10), (1, 4, 8), (3, 4, 9), (2, 8, 5), (4, 4, 16), (8, 2, 3)]


def transfers(data, beat):
    """A packet."""
    parts = [data[n : n + beat] for n in range(0, len(data), beat)]
    return [
        {
            "data": int.from_bytes(part, "little"),
            "keep": (1 << len(part)) - 1,
            "last": n == len(parts) - 1,
            "user": 0,
        }
        for n, part in enumerate(parts)
    ]


def frames_of(words, word, frame):
    """Frames that come out as so many words, and the marks of each of their words."""
    per_frame = -(-frame // word)
    for n in range(0, len(words), per_frame):
        part = words[n : n + per_frame]
        data = b"".join(w.data.to_bytes(word, "little") for w in part)
        yield data[:frame], [w.last for w in part], part[-1].error


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("packets", [ONE, ANY])
@pytest.mark.parametrize(("beat", "word", "frame"), SIZES)
def test_frames_become_words(beat, word, frame, packets, stall):
    rng = random.Random(frame)
    frames = [rng.randbytes(frame) for _ in range(12)]
    size = 1 if packets is ONE else 4
    inputs = [
        transfer
        for n in range(0, len(frames), size)
        for transfer in transfers(b"".join(frames[n : n + size]), beat)
    ]
    per_frame = -(-frame // word)
    dut = InputGearbox(beat=beat, word=word, frame=frame, frames_per_packet=packets)

    words = transact(dut, inputs, per_frame * len(frames), stall=stall)

    found = list(frames_of(words, word, frame))
    assert [data for data, _, _ in found] == frames
    for n, (_, last, error) in enumerate(found):
        assert last == [0] * (per_frame - 1) + [(n + 1) % size == 0]
        assert not error


@pytest.mark.parametrize(("beat", "word", "frame"), SIZES)
def test_words_leave_in_the_stated_cycles(beat, word, frame):
    inputs = transfers(bytes(frame), beat) * 20
    times = word_times(beat=beat, word=word, frame=frame)
    dut = InputGearbox(beat=beat, word=word, frame=frame)
    transact(dut, inputs, 20 * len(times), max_cycles=20 * times[-1] + 1)
    assert times[-1] <= max(len(inputs) // 20, len(times)) + 1


def spoilt(packet, **changes):
    """Packets of which one has a transfer with other marks, between good ones."""
    at, good = len(packet) - 1, [dict(transfer) for transfer in packet]
    bad = [transfer | (changes if n == at else {}) for n, transfer in enumerate(packet)]
    return [*good, *bad, *good]


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(
    "changes",
    [{"user": 1}, {"keep": 0b1101}, {"keep": 0b1110}, {"keep": 0b0111}, {"keep": 0}],
    ids=str,
)
def test_a_frame_whose_last_transfer_is_odd_is_bad(changes, stall):
    inputs = spoilt(transfers(bytes(range(8)), 4), **changes)
    dut = InputGearbox(beat=4, word=4, frame=8)
    words = transact(dut, inputs, 6, stall=stall)
    assert [w.last for w in words] == [0, 1] * 3
    assert [w.error for w in words if w.last] == [0, 1, 0]


@pytest.mark.parametrize("keep", [0b1011, 0b1101, 0b1110])
def test_as_many_bytes_with_a_gap_are_bad(keep):
    inputs = spoilt(transfers(bytes(7), 4), keep=keep)
    words = transact(InputGearbox(beat=4, word=1, frame=7), inputs, 21)
    assert [w.error for w in words if w.last] == [0, 1, 0]


def test_an_end_without_bytes_is_bad_even_if_nothing_is_missing():
    packet = transfers(bytes(6), 2)
    late = [{**packet[-1], "last": 0}, {**packet[-1], "keep": 0}]
    dut = InputGearbox(beat=2, word=4, frame=6)
    words = transact(dut, [*packet[:-1], *late, *packet], 4)
    assert [w.error for w in words if w.last] == [1, 0]


@pytest.mark.parametrize("keep", [0b0111, 0b1011, 0])
def test_bytes_that_are_missing_inside_spoil_the_rest_of_a_packet(keep):
    packet = transfers(bytes(16), 4)
    packet[1] |= {"keep": keep}
    dut = InputGearbox(beat=4, word=2, frame=4, frames_per_packet=ANY)
    words = transact(dut, [*packet, *transfers(bytes(8), 4)], 12)
    assert [w.error for w in words[1::2]] == [0, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("packets", [ONE, ANY])
def test_a_frame_whose_last_word_is_too_short_or_too_long_is_bad(packets):
    """The number of words is the guard's to check; here it is that of bytes in the last one."""
    for size in (9, 11, 12):
        inputs = transfers(bytes(size), 4) + transfers(bytes(10), 4)
        dut = InputGearbox(beat=4, word=3, frame=10, frames_per_packet=packets)
        bad = -(-size // 3) if packets is ONE else {9: 3, 11: 5, 12: 5}[size]
        words = transact(dut, inputs, bad + 4)
        ends = [n for n, w in enumerate(words) if w.last]
        assert ends == [bad - 1, bad + 3]
        assert not words[-1].error
        if bad == 4:
            assert words[bad - 1].error


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("result", "beat"), [(3, 4), (4, 4), (5, 4), (12, 4), (11, 8), (3, 1)])
def test_results_become_transfers(result, beat, stall):
    rng = random.Random(result)
    results = [rng.randbytes(result) for _ in range(10)]
    dut = ResultSerialiser(result=result, beat=beat)
    inputs = [int.from_bytes(data, "little") for data in results]
    expected = [
        {name: value for name, value in transfer.items() if name != "user"}
        for data in results
        for transfer in transfers(data, beat)
    ]
    cycles = 20_000 if stall else 10 * dut.beats + dut.latency

    outputs = transact(dut, inputs, len(expected), stall=stall, max_cycles=cycles)

    assert [
        {name: getattr(o, name) for name in ("data", "keep", "last")} for o in outputs
    ] == expected


def test_sizes_are_checked():
    message = r"^Transfers, words and frames must have at least 1 byte, not 4, 0 and 1$"
    with pytest.raises(ValueError, match=message):
        InputGearbox(beat=4, word=0, frame=1)
    message = r"^Results and transfers must have at least 1 byte, not 0 and 4$"
    with pytest.raises(ValueError, match=message):
        ResultSerialiser(result=0, beat=4)
