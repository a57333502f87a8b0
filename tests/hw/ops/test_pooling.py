# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from xnorflow.hw.ops.pooling import MaxPool, SumPool
from xnorflow.ir import AveragePool, Bit, FeatureMap, GlobalSum, Int
from xnorflow.ir import MaxPool as Node
from xnorflow.sim.pysim import transact


def reference(node, frame):
    """Pooled map, by its definition."""
    rows, columns, size = frame.shape[0] // node.size, frame.shape[1] // node.size, node.size
    cut = frame[: rows * size, : columns * size].reshape(rows, size, columns, size, -1)
    largest, smallest = cut.max(axis=(1, 3)), cut.min(axis=(1, 3))
    return largest if node.inverted is None else np.where(node.inverted, smallest, largest)


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("inverted", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("shape", "size", "lanes"),
    [
        ((4, 6, 4), 2, 2),
        ((4, 6, 4), 2, 4),  # words of a window follow each other directly
        ((5, 7, 3), 2, 1),  # rows and columns are left over
        ((7, 8, 2), 3, 2),
        ((2, 2, 1), 2, 1),
        ((5, 3, 6), 3, 3),
    ],
)
def test_pools(shape, size, lanes, inverted, stall):
    rng = np.random.default_rng(size)
    channels = None if inverted is None else rng.random(shape[2]) < inverted
    node = Node("pool", "bits", size, channels)
    frames = rng.integers(0, 2, (5, *shape)) & rng.integers(0, 2, (5, *shape))
    if inverted:
        frames |= rng.integers(0, 2, frames.shape)
    dut = MaxPool(node, FeatureMap(*shape, Bit()), lanes=lanes)
    expected = np.concatenate([reference(node, frame).reshape(-1, lanes) for frame in frames])

    words = [{"lanes": word} for word in frames.reshape(-1, lanes).tolist()]
    outputs = transact(dut, words, len(expected), stall=stall)

    assert [list(word.lanes) for word in outputs] == expected.tolist()


def test_takes_a_word_a_cycle():
    node = Node("pool", "bits", 2)
    dut = MaxPool(node, FeatureMap(4, 4, 2, Bit()), lanes=1)
    words = [{"lanes": [n % 2]} for n in range(10 * 32)]
    transact(dut, words, 10 * 8, max_cycles=len(words) + dut.latency)


def test_rejects_lanes():
    with pytest.raises(ValueError, match=r"^Lanes must divide the 4 channels, not 3$"):
        MaxPool(Node("pool", "bits", 2), FeatureMap(4, 4, 4, Bit()), lanes=3)


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(
    ("shape", "size", "lanes"),
    [
        ((4, 6, 4), 2, 2),
        ((4, 6, 4), 2, 4),  # words of a window follow each other directly
        ((5, 7, 3), 2, 1),  # rows and columns are left over
        ((5, 9, 2), 4, 1),
    ],
)
def test_averages(shape, size, lanes, stall):
    frames = np.random.default_rng(size).integers(-32, 32, (5, *shape))
    node = AveragePool("pool", "x", size)
    dut = SumPool(node, FeatureMap(*shape, Int(6)), lanes=lanes)
    rows, columns = shape[0] // size, shape[1] // size
    cut = frames[:, : rows * size, : columns * size].reshape(5, rows, size, columns, size, -1)
    expected = (cut.sum(axis=(2, 4)) + size * size // 2) >> node.shift
    expected = expected.reshape(-1, lanes).tolist()

    words = [{"lanes": word} for word in frames.reshape(-1, lanes).tolist()]
    outputs = transact(dut, words, len(expected), stall=stall)

    assert [list(word.lanes) for word in outputs] == expected


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(("shape", "lanes"), [((4, 6, 4), 2), ((3, 1, 2), 2), ((1, 1, 3), 1)])
def test_sums_frames_up(shape, lanes, stall):
    frames = np.random.default_rng(lanes).integers(-32, 32, (5, *shape))
    frames[1], frames[2] = -32, 31
    dut = SumPool(GlobalSum("sums", "x"), FeatureMap(*shape, Int(6)), lanes=lanes)
    expected = frames.sum(axis=(1, 2)).reshape(-1, lanes).tolist()

    words = [{"lanes": word} for word in frames.reshape(-1, lanes).tolist()]
    outputs = transact(dut, words, len(expected), stall=stall)

    assert [list(word.lanes) for word in outputs] == expected


def test_sums_take_a_word_a_cycle():
    dut = SumPool(AveragePool("pool", "x", 2), FeatureMap(4, 4, 2, Int(6)), lanes=1)
    words = [{"lanes": [n % 7]} for n in range(10 * 32)]
    transact(dut, words, 10 * 8, max_cycles=len(words) + dut.latency)
