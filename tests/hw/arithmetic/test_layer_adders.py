import numpy as np
import pytest
from amaranth.sim import Simulator

from xnorflow.hw.arithmetic.layer_adders import LayerAdders
from xnorflow.hw.arithmetic.layer_sums import plan_layer
from xnorflow.hw.families.ecp5 import ECP5
from xnorflow.hw.families.ice40 import ICE40
from xnorflow.ir import Gate


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XNORFLOW_CACHE", str(tmp_path))


def run(dut, words, stall):
    """Results and P by words taken, at the ends of all cycles."""
    rng = np.random.default_rng(0)
    seen = []

    async def bench(ctx):
        taken = 0
        while taken < len(words) + dut.latency:
            enabled = rng.random() >= stall
            noise = int(rng.integers(1 << min(62, len(dut.i))))
            ctx.set(dut.i, (*words, *[0] * dut.latency)[taken] if enabled else noise)
            ctx.set(dut.en, int(enabled))
            taken += enabled
            await ctx.tick()
            seen.append((taken, [*ctx.get(dut.o)], ctx.get(dut.popcount)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def packed(vectors):
    return [sum(int(bit) << n for n, bit in enumerate(vector)) for vector in vectors]


@pytest.mark.parametrize("family", [ECP5, ICE40])
@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize(("neurons", "inputs"), [(1, 1), (3, 2), (5, 7), (6, 40)])
def test_counts(neurons, inputs, gate, levels, family):
    rng = np.random.default_rng(inputs)
    weights = rng.random((neurons, inputs)) < 0.5
    vectors = rng.random((12, inputs)) < np.linspace(0, 1, 12)[:, None]
    sums = plan_layer(weights, gate, popcount=True, levels_per_stage=levels)
    dut = LayerAdders(sums, family)
    products = weights & vectors[:, None] if gate is Gate.AND else weights == vectors[:, None]
    for taken, counts, popcount in run(dut, packed(vectors), stall=0.3):
        n = taken - dut.latency
        if 0 <= n < len(vectors):
            assert counts == products[n].sum(axis=1).tolist()
            assert popcount == vectors[n].sum()


@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize("neurons", [4, 20])
def test_compares_with_thresholds(neurons, gate):
    inputs = 24
    rng = np.random.default_rng(neurons)
    weights = rng.random((neurons, inputs)) < 0.5
    vectors = rng.random((40, inputs)) < np.linspace(0, 1, 40)[:, None]
    products = weights & vectors[:, None] if gate is Gate.AND else weights == vectors[:, None]
    counts = products.sum(axis=2)
    # Thresholds that some vectors meet exactly, some miss by one; and constants.
    thresholds = counts[20] + rng.integers(0, 2, neurons)
    thresholds[:4] = [0, -5, inputs + 1, inputs]
    dut = LayerAdders(plan_layer(weights, gate, thresholds=thresholds))
    for taken, bits, _ in run(dut, packed(vectors), stall=0.3):
        n = taken - dut.latency
        if 0 <= n < len(vectors):
            assert bits == (counts[n] >= thresholds).tolist()
