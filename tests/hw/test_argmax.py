# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from xnorflow.hw.argmax import ArgMax
from xnorflow.sim.pysim import transact


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(
    ("classes", "lanes"), [(1, 1), (3, 1), (10, 1), (10, 3), (10, 10), (5, 4), (7, 2)]
)
def test_finds_the_first_of_the_largest(classes, lanes, stall):
    rng = np.random.default_rng(classes * lanes)
    # A narrow range, so that ties are frequent; and the two ends of the type.
    frames = np.concatenate([
        rng.integers(-3, 3, (20, classes)),
        np.full((1, classes), -16),
        np.full((1, classes), 15),
        rng.choice([-16, 15], (4, classes)),
    ])
    fold = -(-classes // lanes)
    # Spare lanes hold the largest score there is: they must not win.
    padded = np.pad(frames, ((0, 0), (0, fold * lanes - classes)), constant_values=15)
    inputs = [{"lanes": word.tolist()} for word in padded.reshape(-1, lanes)]

    outputs = transact(
        ArgMax(classes=classes, score_bits=5, lanes=lanes), inputs, len(frames), stall=stall
    )

    assert [out.label for out in outputs] == frames.argmax(1).tolist()
    assert [list(out.scores) for out in outputs] == frames.tolist()


@pytest.mark.parametrize("lanes", [1, 4])
def test_takes_a_word_every_cycle(lanes):
    dut = ArgMax(classes=4, score_bits=4, lanes=lanes)
    inputs = [{"lanes": [0] * lanes}] * (40 // lanes)
    transact(dut, inputs, 10, max_cycles=len(inputs) + dut.latency)


@pytest.mark.parametrize("what", ["classes", "score_bits", "lanes"])
def test_rejects_nothing(what):
    sizes = {"classes": 3, "score_bits": 4, "lanes": 1} | {what: 0}
    name = what.replace("_", " ")
    with pytest.raises(ValueError, match=f"^Number of {name} must be at least 1, not 0$"):
        ArgMax(**sizes)
