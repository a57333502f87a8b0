"""Random models of all layers: float64 = integers."""

import numpy as np
import pytest

from tests.graphs import allowed, compared, draw, random_frames


FAST, ALL, FRAMES = 32, 300, 24
MOST_REFUSED = 0.1


@pytest.mark.parametrize(
    "seeds",
    [range(FAST), *(pytest.param(range(n, n + 30), marks=pytest.mark.slow)
                    for n in range(FAST, FAST + ALL, 30))],
    ids=str,
)  # fmt: skip
def test_networks_equal_their_models(seeds):
    refused = 0
    for seed in seeds:
        drawn = draw(seed)
        if drawn.network is None:
            assert allowed(drawn.refused), f"seed {seed}: {drawn.refused}"
            refused += 1
            continue
        frames = random_frames(np.random.default_rng(seed), drawn.frame, FRAMES)
        count, differing = compared(drawn, frames)
        assert count > 0
        assert differing == 0, f"seed {seed}"
    assert refused <= MOST_REFUSED * len(seeds)
