# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from xnorflow.hw.ops.elementwise import Add, Concat
from xnorflow.ir import Add as AddNode
from xnorflow.ir import Bit, FeatureMap, Int, UInt
from xnorflow.ir import Concat as ConcatNode
from xnorflow.sim.pysim import transact


def words(values, lanes):
    return [{"lanes": word} for word in values.reshape(-1, lanes).tolist()]


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("bits", [4, 6, 7, 9])
@pytest.mark.parametrize("narrow", [False, True])
def test_adds_and_clips(narrow, bits, lanes, stall):
    rng = np.random.default_rng(bits)
    source, other = FeatureMap(2, 3, 4, Int(6)), FeatureMap(2, 3, 4, Int(5))
    a, b = rng.integers(-32, 32, (3, 2, 3, 4)), rng.integers(-16, 16, (3, 2, 3, 4))
    dut = Add(AddNode("sum", "a", "b", bits, narrow), source, other, lanes=lanes)

    outputs = transact(
        dut, words(a, lanes), a.size // lanes, other=words(b, lanes), stall=stall, seed=bits
    )

    expected = np.clip(a + b, (-1 << bits - 1) + int(narrow), (1 << bits - 1) - 1)
    assert [list(out.lanes) for out in outputs] == expected.reshape(-1, lanes).tolist()


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("kind", [Int(6), Bit()])
@pytest.mark.parametrize(("channels", "lanes"), [((4, 4), 2), ((2, 6), 2), ((3, 1), 1)])
def test_puts_channels_behind_each_other(channels, lanes, kind, stall):
    rng = np.random.default_rng(lanes)
    source, other = (FeatureMap(2, 3, n, kind) for n in channels)
    a, b = (rng.integers(kind.low, kind.high, (3, 2, 3, n), endpoint=True) for n in channels)
    dut = Concat(ConcatNode("both", "a", "b"), source, other, lanes=lanes)
    expected = np.concatenate([a, b], axis=3)

    outputs = transact(
        dut, words(a, lanes), expected.size // lanes, other=words(b, lanes), stall=stall
    )

    assert [list(out.lanes) for out in outputs] == expected.reshape(-1, lanes).tolist()


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("channels", "lanes"), [((4, 2, 6), 2), ((1, 3, 1, 2, 1), 1)])
def test_puts_channels_of_many_behind_each_other(channels, lanes, stall):
    rng = np.random.default_rng(lanes)
    kind = UInt(3)
    maps = [rng.integers(0, 8, (3, 2, 3, n)) for n in channels]
    names = [f"x{n}" for n in range(len(channels))]
    sources = [FeatureMap(2, 3, n, kind) for n in channels]
    dut = Concat(ConcatNode.of("all", names), *sources, lanes=lanes)
    expected = np.concatenate(maps, axis=3)
    count = expected.size // lanes

    first, other, *more = (words(values, lanes) for values in maps)
    most = count + dut.latency if not stall else 20_000
    outputs = transact(dut, first, count, other=other, more=more, stall=stall, max_cycles=most)

    assert [list(out.lanes) for out in outputs] == expected.reshape(-1, lanes).tolist()


def test_adds_a_pair_every_cycle():
    x = FeatureMap(1, 1, 1, Int(4))
    dut = Add(AddNode("sum", "a", "b", 5), x, x, lanes=1)
    inputs = [{"lanes": [3]}] * 40
    transact(dut, inputs, 40, other=inputs, max_cycles=40 + dut.latency)


def test_delivers_a_word_of_both_every_cycle():
    x = FeatureMap(1, 1, 1, Int(4))
    dut = Concat(ConcatNode("both", "a", "b"), x, x, lanes=1)
    inputs = [{"lanes": [3]}] * 40
    transact(dut, inputs, 80, other=inputs, max_cycles=80 + dut.latency)


def test_rejects_lanes():
    a, b = FeatureMap(1, 1, 4, Int(4)), FeatureMap(1, 1, 6, Int(4))
    with pytest.raises(ValueError, match=r"^Lanes must divide 4 and 6 channels, not 4$"):
        Concat(ConcatNode("both", "a", "b"), a, b, lanes=4)
