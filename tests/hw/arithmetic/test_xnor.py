import numpy as np
import pytest
from amaranth import *
from amaranth.sim import Simulator

from xnorflow.hw.arithmetic.xnor import count_triples, encode_weights, share_parities


@pytest.mark.parametrize("simd", [1, 3, 5])
def test_counts_lanes_that_agree(simd):
    """Every word with all weights."""
    words = np.arange(1 << simd)[:, np.newaxis] >> np.arange(simd) & 1
    codes = encode_weights(words)
    lanes, code = Signal(simd), Signal(simd)
    counted = count_triples(share_parities(lanes), code)
    ones = simd - 2 * (simd // 3)
    assert len(counted) == simd - simd // 3

    async def bench(ctx):
        for word in words:
            ctx.set(lanes, int(word @ (1 << np.arange(simd))))
            for weights, stored in zip(words, codes, strict=True):
                ctx.set(code, int(stored @ (1 << np.arange(simd))))
                bits = [ctx.get(bit) for bit in counted]
                assert sum(bits[:ones]) + 2 * sum(bits[ones:]) == (word == weights).sum()

    simulator = Simulator(Module())
    simulator.add_testbench(bench)
    simulator.run()
