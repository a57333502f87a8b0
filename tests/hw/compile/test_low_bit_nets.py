"""Networks with activations of 2 to 4 bits as hardware: whole accelerators."""

import numpy as np
import pytest

from tests.hw.driving import run, words_of
from tests.low_bit import low_bit_network
from xnorflow.errors import DesignError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.sw.golden import golden


def design_of(network, device):
    """A design at a fast rate that it can keep."""
    for factor in 1, 2, 4, 8, 16:
        try:
            return fold(network, device, cycles=factor * 120)
        except DesignError:
            continue
    raise AssertionError


@pytest.mark.parametrize(
    ("seed", "stall", "device"),
    [
        (0, 0.0, ECP5_85F),
        (1, 0.3, ECP5_85F),
        (2, 0.3, UP5K),
        *(
            pytest.param(seed, stall, device, marks=pytest.mark.slow)
            for seed in range(10, 25)
            for stall, device in ((0.0, UP5K), (0.3, ECP5_85F))
        ),
    ],
    ids=str,
)
def test_random_networks_equal_the_golden_model(seed, stall, device):
    network = low_bit_network(seed)
    design = design_of(network, device)
    kind = network.input.type
    frames = np.random.default_rng(seed).integers(
        kind.low, kind.high + 1, (6, *network.input.shape)
    )
    words = [words_of(frame, design.input_lanes, spare=kind.high) for frame in frames]

    starts, results = run(design, words, stall=stall, limit=60_000)

    expected = golden(network, frames.astype(np.int16))
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-3:])) == {design.cycles_per_frame}
        assert design.latency <= times[0] - starts[0] < design.latency + design.cycles_per_frame
