import pytest
from amaranth import *
from amaranth.sim import Simulator

from xnorflow.hw.arithmetic.partial_products import partial_products


@pytest.mark.parametrize(
    "a_shape", [unsigned(3), unsigned(4), signed(4), signed(5), signed(8)], ids=str
)
@pytest.mark.parametrize("b_shape", [unsigned(2), unsigned(7), signed(6)], ids=str)
def test_terms_add_up_to_the_product(a_shape, b_shape):
    a, b = Signal(a_shape), Signal(b_shape)
    terms = partial_products(a, b, 4)
    total = Signal(signed(20))
    m = Module()
    m.d.comb += total.eq(sum(terms))

    async def bench(ctx):
        for x in range(1 << a_shape.width):
            for y in range(1 << b_shape.width):
                ctx.set(a, Const(x, a_shape).value)
                ctx.set(b, Const(y, b_shape).value)
                await ctx.delay(1e-9)
                assert ctx.get(total) == ctx.get(a) * ctx.get(b)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    ("shape", "count"),
    [(unsigned(3), 1), (unsigned(4), 2), (signed(4), 1), (signed(7), 2), (signed(8), 3)],
)
def test_takes_as_many_multipliers_as_needed(shape, count):
    assert len(partial_products(Signal(shape), Signal(signed(4)), 4)) == count
