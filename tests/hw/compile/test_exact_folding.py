"""The search for foldings against all there are, on networks and devices that are small enough."""

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest

from tests.hw.networks import random_mlp
from xnorflow.errors import DesignError
from xnorflow.hw.compile.estimate import GUARD, estimate
from xnorflow.hw.compile.fold import FILL, fold, fold_faster, fold_fastest
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.device import Cell
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.folding import Folding, layers
from xnorflow.ir import INPUT, ArgMax, BinaryConv, FeatureMap, Network, Threshold, UInt


def small_conv(seed):
    """A convolution, and a dense layer behind it.

    With its groups, it takes no whole windows, whose queue is known once a pipeline is planned.
    """
    rng = np.random.default_rng(seed)
    nodes = (
        Threshold("bits", INPUT, np.array([128, 128])),
        BinaryConv("conv", "bits", rng.random((4, 3, 3, 1)) < 0.5, groups=2),
        Threshold("act", "conv", rng.integers(2, 7, 4)),
        BinaryConv("fc", "act", rng.random((2, 2, 2, 4)) < 0.5),
        ArgMax("label", "fc"),
    )
    return Network("small-conv", FeatureMap(4, 4, 2, UInt(8)), nodes, ("a", "b"))


NETWORKS = {
    "mlp": random_mlp(0, side=2, widths=(5, 3), classes=2),
    "popcount": random_mlp(1, side=2, widths=(3, 2), classes=2, popcount=True),
    "conv": small_conv(0),
}
CYCLES = {"mlp": (6, 24), "popcount": (4, 9), "conv": (72, 150)}
DEVICES = {
    f"{device.name}-{luts}-{blocks}": replace(
        device, luts=luts, block_rams=blocks, multipliers=blocks
    )
    for device in (UP5K, ECP5_85F)
    for luts, blocks in ((9000, 0), (1000, 3), (820, 6), (760, 60))
}


def all_designs(name, device, lanes):
    """`_all_designs`, once for what is estimated alike."""
    blocks = min(1, device.block_rams)
    return _all_designs(name, replace(device, luts=1, block_rams=blocks, multipliers=blocks), lanes)


@cache
def _all_designs(name, device, lanes):
    """All designs of a network in which each layer has a PE and a SIMD of its own.

    Of each, the cycles that it takes and what it needs, and of its stages what they need with
    memories of either kind.
    """
    network = NETWORKS[name]
    nodes = layers(network)
    choices = (product(range(1, node.filters + 1), range(1, node.taps + 1)) for node in nodes)
    found = []
    for foldings in product(*choices):
        each = {n.name: Folding(*f) for n, f in zip(nodes, foldings, strict=True)}
        try:
            design = plan(network, each, lanes, device)
        except DesignError:
            continue
        found.append((design.cycles_per_frame, frozenset(_needs(design))))
    return found


def _needs(design):
    """What a design may need, whatever its memories are made of."""
    totals = {(GUARD, 0, 0)}
    for stage in design.stages:
        kinds = set()
        for memories in (Cell.LUT, Cell.BLOCK_RAM):
            device = replace(design.device, memories=memories)
            need = stage.resources(device, design.depths.get(stage.name))
            kinds.add(vector(need))
        totals = {tuple(map(sum, zip(a, b, strict=True))) for a in totals for b in kinds}
    return totals


def vector(need):
    return need.luts, need.block_rams, need.multipliers


def budget(device):
    return int(FILL * device.luts), device.block_rams, device.multipliers


def fits(need, device):
    return all(a <= b for a, b in zip(need, budget(device), strict=True))


def score(need, device):
    shares = (a / b if b else 0 for a, b in zip(need, budget(device), strict=True))
    return float(np.dot([1, 0.5, 1], list(shares)))


# Where windows are buffered in look-up tables, what they take is known once a pipeline is planned.
@pytest.mark.parametrize(
    ("name", "device"),
    [
        pytest.param(name, device, id=f"{name}-{title}")
        for name in NETWORKS
        for title, device in DEVICES.items()
        if device.block_rams or name != "conv"
    ],
)
def test_the_cheapest_of_all(name, device):
    for cycles in CYCLES[name]:
        scores = [
            score(need, device)
            for took, needs in all_designs(name, device, 1)
            for need in needs
            if took <= cycles and fits(need, device)
        ]
        if not scores:
            with pytest.raises(DesignError, match=" does not fit "):
                fold(NETWORKS[name], device, cycles=cycles)
            continue
        design = fold(NETWORKS[name], device, cycles=cycles)
        need = vector(estimate(design))
        assert design.cycles_per_frame <= cycles
        assert fits(need, device)
        assert score(need, device) == pytest.approx(min(scores), abs=1e-9)


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize(("name", "lanes"), [("popcount", (1, 2, 4)), ("conv", (1, 2))])
def test_the_fastest_of_all(name, lanes, device):
    cycles = [
        took
        for width in lanes
        for took, needs in all_designs(name, device, width)
        if any(fits(need, device) for need in needs)
    ]
    if not cycles:
        with pytest.raises(DesignError, match=" does not fit "):
            fold_fastest(NETWORKS[name], device)
        return
    design = fold_fastest(NETWORKS[name], device)
    assert design.cycles_per_frame == min(cycles)
    assert fits(vector(estimate(design)), device)


def test_steps_end_at_the_fastest():
    design = fold(NETWORKS["mlp"], ECP5_85F, cycles=24)
    steps = [design]
    while (faster := fold_faster(steps[-1])) is not None:
        assert faster.cycles_per_frame < steps[-1].cycles_per_frame
        steps.append(faster)
    assert steps[-1].cycles_per_frame == 1
