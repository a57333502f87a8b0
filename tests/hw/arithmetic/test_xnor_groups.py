import numpy as np
import pytest
from amaranth import *
from amaranth.sim import Simulator

from xnorflow.hw.arithmetic.xnor_groups import (
    count_groups,
    encode_groups,
    group_counts,
    group_parities,
    share_groups,
)


def number(bits):
    return int(bits.astype(object) @ (1 << np.arange(len(bits), dtype=object)))


def simulated(value, settings):
    """Values, as lists of bits, for what signals are set to."""
    m, output, seen = Module(), Signal(len(value)), []
    m.d.comb += output.eq(value)

    async def bench(ctx):
        for setting in settings:
            for signal, bits in setting:
                ctx.set(signal, number(bits))
            await ctx.delay(1e-6)
            seen.append([ctx.get(output) >> n & 1 for n in range(len(output))])

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(seen)


@pytest.mark.parametrize("simd", [*range(1, 11), 14, 16, 18, 25, 31])
def test_counts_lanes_that_agree(simd):
    rng = np.random.default_rng(simd)
    lanes, code = Signal(simd), Signal(simd)
    ones, twos = group_counts(simd)
    words = rng.integers(0, 2, (150, simd))
    weights = rng.integers(0, 2, (150, simd))
    # Nearly all agree, or nearly none.
    weights[:100] = words[:100] ^ (rng.random((100, simd)) < 0.1)
    weights[:50] ^= 1
    codes = encode_groups(weights)
    assert codes.shape == weights.shape
    seen = simulated(
        count_groups(share_groups(lanes), code),
        [((lanes, word), (code, stored)) for word, stored in zip(words, codes, strict=True)],
    )
    assert seen.shape[1] == ones + twos
    counts = seen[:, :ones].sum(axis=1) + 2 * seen[:, ones:].sum(axis=1)
    np.testing.assert_array_equal(counts, (words == weights).sum(axis=1))


@pytest.mark.parametrize("simd", range(1, 20))
def test_shares_as_many_parities_as_it_says(simd):
    lanes = Signal(simd)
    lanes_of_terms = simulated(
        share_groups(lanes), [[(lanes, row)] for row in np.eye(simd, dtype=int)]
    )
    sizes = lanes_of_terms.sum(axis=0)
    assert group_parities(simd) == (len(sizes), (sizes > 1).sum())
