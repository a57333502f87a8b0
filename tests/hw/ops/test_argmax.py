# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from xnorflow.hw.ops.argmax import ArgMax, Scores
from xnorflow.ir import Bit, Counts, FeatureMap, Int, UInt
from xnorflow.sim.pysim import transact


TYPES = [Int(5), UInt(4), Counts(9), Bit()]


def scores(classes, value_type=TYPES[0]):
    return FeatureMap(1, 1, classes, value_type)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("value_type", TYPES, ids=str)
@pytest.mark.parametrize(
    ("classes", "lanes"), [(1, 1), (1, 2), (3, 1), (10, 1), (10, 3), (10, 10), (5, 4), (7, 2)]
)
def test_finds_the_first_of_the_largest(classes, lanes, value_type, stall):
    rng = np.random.default_rng(classes * lanes)
    low, high = value_type.low, value_type.high
    # A narrow range, so that ties are frequent; and the two ends of the type.
    frames = np.concatenate([
        rng.integers(max(low, -3), min(high, 3), (20, classes), endpoint=True),
        np.full((1, classes), low),
        np.full((1, classes), high),
        rng.choice([low, high], (4, classes)),
    ])
    fold = -(-classes // lanes)
    # Spare lanes hold the largest score there is: they must not win.
    padded = np.pad(frames, ((0, 0), (0, fold * lanes - classes)), constant_values=high)
    inputs = [{"lanes": word.tolist()} for word in padded.reshape(-1, lanes)]

    unit = ArgMax(scores(classes, value_type), lanes=lanes)
    outputs = transact(unit, inputs, len(frames), stall=stall)

    labels = frames.argmax(1) if classes > 1 else (frames[:, 0] >= 0).astype(int)
    assert [out.label for out in outputs] == labels.tolist()
    assert [list(out.scores) for out in outputs] == frames.tolist()


@pytest.mark.parametrize("lanes", [1, 4])
def test_takes_a_word_every_cycle(lanes):
    dut = ArgMax(scores(4), lanes=lanes)
    inputs = [{"lanes": [0] * lanes}] * (40 // lanes)
    transact(dut, inputs, 10, max_cycles=len(inputs) + dut.latency)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("value_type", TYPES, ids=str)
@pytest.mark.parametrize(("count", "lanes"), [(1, 1), (1, 2), (6, 1), (6, 3), (5, 4)])
def test_gathers_scores(count, lanes, value_type, stall):
    rng = np.random.default_rng(count * lanes)
    frames = rng.integers(value_type.low, value_type.high, (20, count), endpoint=True)
    padded = np.pad(frames, ((0, 0), (0, -count % lanes)), constant_values=value_type.high)
    inputs = [{"lanes": word.tolist()} for word in padded.reshape(-1, lanes)]

    unit = Scores(scores(count, value_type), lanes=lanes)
    limit = len(inputs) + unit.latency if not stall else 20_000
    outputs = transact(unit, inputs, len(frames), stall=stall, max_cycles=limit)

    assert [list(out.scores) for out in outputs] == frames.tolist()


def test_rejects_no_lanes():
    with pytest.raises(ValueError, match=r"^Number of lanes must be at least 1, not 0$"):
        ArgMax(scores(3), lanes=0)
