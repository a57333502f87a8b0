# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from xnorflow.hw.pool import MaxPool
from xnorflow.network import Bit, FeatureMap
from xnorflow.network import MaxPool as Node
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
