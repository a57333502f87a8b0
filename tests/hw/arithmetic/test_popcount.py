# amaranth: UnusedElaboratable=no
import random
from itertools import pairwise

import pytest

from tests.hw.counting import count_words
from xnorflow.hw.arithmetic.popcount import Popcount, popcount_latency
from xnorflow.hw.families import FAMILIES


def check(dut, words, *, stall=0.0):
    """Every output is the count of the word that was taken ``popcount_latency`` words ago."""
    latency = popcount_latency(dut.width, dut.family, dut.planes)
    for taken, count in count_words(dut, zip(words), stall=stall):
        # A register hands on what it took at this very edge; a wire (latency 0) likewise.
        n = taken - max(latency, 1)
        if 0 <= n < len(words):
            planes = [words[n] >> dut.width * k & (1 << dut.width) - 1 for k in range(dut.planes)]
            assert count == sum(plane.bit_count() << k for k, plane in enumerate(planes))


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("width", range(1, 10))
def test_counts_every_word(width, family):
    check(Popcount(width, family), range(1 << width))


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("width", [15, 16, 17, 63, 64, 100, 784])
def test_counts_wide_words(width, family, stall):
    rng = random.Random(width)
    # Besides random words: nearly empty and nearly full ones, which carry through all columns.
    words = [0, (1 << width) - 1, 1, 1 << (width - 1), (1 << width) - 2]
    words += [rng.getrandbits(width) for _ in range(30)]
    check(Popcount(width, family), words, stall=stall)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("planes", [2, 3, 4])
@pytest.mark.parametrize("width", [*range(1, 8), 40, 100])
def test_counts_planes(width, planes, family):
    rng = random.Random(width)
    words = [0, (1 << width * planes) - 1, 1 << width * planes - 1]
    words += [rng.getrandbits(width * planes) for _ in range(20)]
    dut = Popcount(width, family, planes=planes)
    check(dut, words, stall=0.3 if dut.latency else 0.0)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("width", [2, 7, 64])
def test_stands_still_unless_enabled(width, family):
    rng = random.Random(width)
    words = [rng.getrandbits(width) for _ in range(50)]
    seen = count_words(Popcount(width, family), zip(words), stall=0.5)

    for (before, old), (after, new) in pairwise(seen):
        assert after > before or new == old


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("width", [*range(1, 40), 100, 784])
def test_latency_is_known_beforehand(width, family):
    assert Popcount(width, family).latency == popcount_latency(width, family)


@pytest.mark.parametrize("width", [0, -1])
def test_rejects_no_bits(width):
    with pytest.raises(ValueError, match=f"^Popcount width must be at least 1, not {width}$"):
        Popcount(width)
