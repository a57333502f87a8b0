"""Counters that move by a clock enable, driven word by word."""

import random

from amaranth.sim import Simulator


def count_words(dut, words, *, stall=0.0, inputs=("i",)):
    """Outputs of a counter, at the ends of all cycles, in some of which it stands still.

    Each comes with the number of words that the counter has taken by then. A word is a tuple of
    numbers, one for each of the ``inputs``.
    """
    rng = random.Random(0)
    ports = [getattr(dut, name) for name in inputs]
    flushed = [*words, *[(0,) * len(ports)] * dut.latency]
    seen = []

    async def bench(ctx):
        taken = 0
        while taken < len(flushed):
            enabled = rng.random() >= stall
            # While it stands still, the inputs hold anything.
            word = flushed[taken] if enabled else [rng.getrandbits(len(port)) for port in ports]
            for port, value in zip(ports, word, strict=True):
                ctx.set(port, value)
            ctx.set(dut.en, enabled)
            taken += enabled
            if dut.latency:
                await ctx.tick()
            else:
                await ctx.delay(1e-6)
            seen.append((taken, ctx.get(dut.o)))

    simulator = Simulator(dut)
    if dut.latency:
        simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen
