from itertools import pairwise, product

import numpy as np
import pytest

from xnorflow.hw.compile.search import Layer, any_fits, cheapest_way


WORTH = np.array([1, 0.5, 1])


def random_layers(seed, *, states=3, edges=6, layers=4, scale=0.4):
    """Layers with few distinct costs, so that many sums are equal."""
    rng = np.random.default_rng(seed)
    counts = [1, *[states] * (layers - 1), 1]
    return [
        Layer(
            rng.integers(0, before, edges),
            rng.integers(0, behind, edges),
            rng.integers(0, 9, (edges, 3)) / 9 * scale,
        )
        for before, behind in pairwise(counts)
    ]


def ways(layers):
    """All ways, as the sums of their costs."""
    for edges in product(*(range(len(layer.before)) for layer in layers)):
        state, costs = 0, np.zeros(3)
        for layer, edge in zip(layers, edges, strict=True):
            if layer.before[edge] != state:
                break
            state, costs = layer.behind[edge], costs + layer.costs[edge]
        else:
            yield costs


@pytest.mark.parametrize("scale", [0.6, 0.75, 0.9])
def test_finds_the_cheapest_of_all_ways_that_fit(scale):
    found = 0
    for seed in range(40):
        layers = random_layers(seed, scale=scale)
        every = list(ways(layers))
        fitting = [costs @ WORTH for costs in every if costs.max() <= 1 + 1e-9]
        found += bool(fitting)
        if not every:
            continue
        way = cheapest_way(layers, WORTH)
        assert way.fits == any_fits(layers) == bool(fitting)
        if fitting:
            assert way.costs @ WORTH == pytest.approx(min(fitting), abs=1e-12)
        assert any(np.allclose(way.costs, costs) for costs in every)
    assert 2 < found < 40


def test_a_way_is_its_edges():
    layers = random_layers(3)
    way = cheapest_way(layers, WORTH)
    state = 0
    for layer, edge in zip(layers, way.edges, strict=True):
        assert layer.before[edge] == state
        state = layer.behind[edge]
    costs = sum(layer.costs[edge] for layer, edge in zip(layers, way.edges, strict=True))
    np.testing.assert_allclose(way.costs, costs)


def test_without_a_way_that_fits_it_finds_one_of_all():
    layers = random_layers(0, scale=5)
    way = cheapest_way(layers, WORTH)
    assert not way.fits
    assert not any_fits(layers)
