"""Drives accelerators whose weights are loaded while frames go through them."""

import random
from dataclasses import dataclass, field, replace

import numpy as np
from amaranth import *
from amaranth.sim import Simulator

from tests.hw.networks import random_mlp
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.folding import Folding


__all__ = ["DESIGN", "FRAMES", "OTHER", "Driver", "pair"]

FOLDINGS = {"fc1": Folding(3, 8), "fc2": Folding(2, 3)}


def pair(seed=2, other=3):
    """Two networks of one shape."""
    networks = [random_mlp(each, widths=(6,), classes=4) for each in (seed, other)]
    first, second = networks
    scores = first.nodes[-2]
    nodes = [scores if node.name == scores.name else node for node in second.nodes]
    return first, replace(second, nodes=tuple(nodes))


NETWORK, OTHER = pair()
DESIGN = plan(NETWORK, FOLDINGS, 4, replace(ECP5_85F, runtime_weights=True))
FRAMES = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 1), np.uint8)


@dataclass
class Driver:
    """Simulates an accelerator; ``stall`` is the probability of a wait, on all sides."""

    dut: object
    stall: float = 0.0
    frames: np.ndarray = field(default_factory=lambda: FRAMES)

    def __post_init__(self):
        self.results = []
        self.accepted = 0
        self.reset = Signal()
        self._simulator = Simulator(ResetInserter(self.reset)(self.dut))
        self._simulator.add_clock(1e-6)

    def run(self, main):
        """Offer frames for ever, and run a testbench beside it."""
        self._simulator.add_testbench(self._frames, background=True)
        self._simulator.add_testbench(self._results, background=True)
        self._simulator.add_testbench(self._watch, background=True)
        self._simulator.add_testbench(main)
        self._simulator.run()
        return self.results

    async def send(self, ctx, image, *, whole=True):
        """Send the bytes of a load, the last of which is marked if they are ``whole``."""
        stream, waits = self.dut.i_load, random.Random("load")
        for n, byte in enumerate(image, 1):
            while waits.random() < self.stall:
                await ctx.tick()
            ctx.set(stream.p, {"data": byte, "last": whole and n == len(image)})
            ctx.set(stream.valid, 1)
            ready = 0
            while not ready:
                *_, ready = await ctx.tick().sample(stream.ready)
            ctx.set(stream.valid, 0)

    async def load(self, ctx, image):
        """Send a load; gives whether it is good."""
        await self.send(ctx, image)
        ended = 0
        while not ended:
            *_, ended = await ctx.tick().sample(self.dut.load_ended)
        return not ctx.get(self.dut.load_failed)

    async def restart(self, ctx):
        """Reset, which is synchronous, and see that no frame gets in by that."""
        ctx.set(self.reset, 1)
        await ctx.tick()
        ctx.set(self.reset, 0)

    async def more(self, ctx, count):
        """Wait for more results."""
        wanted = len(self.results) + count
        while len(self.results) < wanted:
            await ctx.tick()

    async def _frames(self, ctx):
        stream, waits = self.dut.i, random.Random("frames")
        words = self.frames.reshape(len(self.frames), -1, len(stream.p.data)).tolist()
        while True:
            for n, word in enumerate(words[self.accepted % len(words)]):
                while waits.random() < self.stall:
                    await ctx.tick()
                last = n == len(words[0]) - 1
                ctx.set(stream.p, {"data": word, "last": last, "error": 0})
                ctx.set(stream.valid, 1)
                ready = reset = 0
                while not ready and not reset:
                    *_, ready, reset = await ctx.tick().sample(stream.ready, self.reset)
                ctx.set(stream.valid, 0)
                if reset:  # what has no result comes again
                    self.accepted = len(self.results)
                    break
            else:
                self.accepted += 1

    async def _results(self, ctx):
        stream, waits = self.dut.o, random.Random("results")
        while True:
            ctx.set(stream.ready, waits.random() >= self.stall)
            *_, valid, ready, result = await ctx.tick().sample(stream.valid, stream.ready, stream.p)
            if valid and ready:
                self.results.append(list(result.scores))

    async def _watch(self, ctx):
        for _ in range(20_000):
            await ctx.tick()
        raise TimeoutError(f"{len(self.results)} results")
