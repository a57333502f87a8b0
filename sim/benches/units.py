# amaranth: UnusedElaboratable=no
"""Bench of single units: stimuli and expectations are maps that the golden model computes.

The top module `Units` holds every unit once, so that one compilation serves all tests.
"""

import random
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import cocotb
import numpy as np
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from cocotb.triggers import FallingEdge, ReadOnly

from xnorflow.sim.benches.cases import VECTORS, Case, Word
from xnorflow.sim.benches.pool_cases import POOL_CASES
from xnorflow.sim.benches.unit_cases import POPCOUNTS, UNIT_CASES
from xnorflow.sim.streams import Transfer, amaranth_stream, receive, reset, send, start_clock


CASES = UNIT_CASES | POOL_CASES


class Units(wiring.Component):
    """Every unit, under its name, with all its ports."""

    def __init__(self, units: Mapping[str, Any]) -> None:
        self._units = units
        super().__init__({name: Out(unit.signature) for name, unit in units.items()})

    def elaborate(self, _platform: object) -> Module:
        """Connect every unit to the ports of its name."""
        m = Module()
        for name, unit in self._units.items():
            m.submodules[name] = unit
            # Not `connect`: it cannot flip arrays of streams.
            ports = unit.signature.flatten(getattr(self, name))
            for (_, member, inner), (_, _, outer) in zip(
                unit.signature.flatten(unit), ports, strict=True
            ):
                m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        return m


def top() -> Units:
    """The module that the bench runs on."""
    return Units({name: case.unit for name, case in CASES.items()} | POPCOUNTS)


def _named(names: Iterable[str]) -> list[cocotb.Param]:
    """Parameters that reports call by their names."""
    return [cocotb.Param(name, name=name) for name in names]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=_named(CASES), stall=[0.0, 0.4])
async def delivers(dut: Any, name: str, stall: float) -> None:
    """Every word is right, and at full rate comes when it is promised."""
    await _start(dut, name)
    await _check(dut, name, stall)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=_named(CASES))
async def recovers_from_reset(dut: Any, name: str) -> None:
    """A reset in the middle of a vector leaves nothing behind."""
    await _start(dut, name)
    rng = random.Random(name)
    tasks = [cocotb.start_soon(coroutine) for coroutine in _traffic(dut, name, 0.3)]
    for _ in range(rng.randrange(3, 20)):
        await FallingEdge(dut.clk)
    for task in tasks:
        task.cancel()
    await _start(dut, name)
    await _check(dut, name, 0.0)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=_named(POPCOUNTS))
async def counts_ones(dut: Any, name: str) -> None:
    """A popcount delivers after its latency in enabled cycles, and holds in others."""
    unit = POPCOUNTS[name]
    rng = random.Random(name)
    start_clock(dut.clk)
    pipeline: deque[int | None] = deque([None] * (unit.latency + 1), unit.latency + 1)
    for _ in range(200):
        await FallingEdge(dut.clk)
        word = rng.choice([rng.getrandbits(unit.width), 0, (1 << unit.width) - 1])
        enabled = rng.random() < 0.7
        getattr(dut, f"{name}__i").value = word
        getattr(dut, f"{name}__en").value = enabled
        await ReadOnly()
        # The oldest entry is at the output; a unit without latency shows the word at once.
        expected = word.bit_count() if unit.latency == 0 else pipeline[1]
        if expected is not None:
            assert int(getattr(dut, f"{name}__o").value) == expected
        if enabled:
            pipeline.append(word.bit_count())


async def _start(dut: Any, name: str) -> None:
    start_clock(dut.clk)
    for stream, _ in _inputs(dut, name):
        stream.valid.value = 0
    for stream in _outputs(dut, name):
        stream.ready.value = 0
    await reset(dut.clk, dut.rst)


async def _check(dut: Any, name: str, stall: float) -> None:
    case = CASES[name]
    tasks = [cocotb.start_soon(coroutine) for coroutine in _traffic(dut, name, stall)]
    sending, *receiving = tasks[:1] + tasks[-len(case.outputs) :]
    received: list[list[Transfer]] = [await task for task in receiving]
    sent: list[Transfer] = await sending
    for transfers in received:
        for index, (transfer, expected) in enumerate(zip(transfers, case.expected, strict=True)):
            _compare(case, index, transfer.payload[0], expected)
        if stall == 0.0:
            _check_timing(case, sent, transfers)


def _check_timing(case: Case, sent: list[Transfer], received: list[Transfer]) -> None:
    if case.latency is not None:
        assert received[0].cycle - sent[case.completing].cycle == case.latency
    if case.cycles is not None:
        words = len(received) // VECTORS
        starts = [transfer.cycle for transfer in received[::words]]
        assert np.diff(starts).tolist() == [case.cycles] * (VECTORS - 1)


def _traffic(dut: Any, name: str, stall: float) -> Iterable[Any]:
    """Coroutines that send all words, and receive them from every output."""
    case = CASES[name]
    for n, (stream, words) in enumerate(_inputs(dut, name)):
        yield send(stream, [(word,) for word in words], stall=stall, seed=n)
    for n, stream in enumerate(_outputs(dut, name)):
        yield receive(stream, len(case.expected), stall=stall, seed=n)


def _inputs(dut: Any, name: str) -> Iterable[tuple[Any, list[int]]]:
    """Input streams, and the payloads of their words."""
    case = CASES[name]
    yield amaranth_stream(dut.clk, dut, f"{name}__i"), _pack(case.unit.i, case.inputs)
    if case.others:
        yield (
            amaranth_stream(dut.clk, dut, f"{name}__{case.second}"),
            _pack(getattr(case.unit, case.second), case.others),
        )
    for port, words in case.more.items():
        stream = amaranth_stream(dut.clk, dut, f"{name}__{port}")
        yield stream, _pack(getattr(case.unit, port), words)


def _outputs(dut: Any, name: str) -> list[Any]:
    return [amaranth_stream(dut.clk, dut, f"{name}__{o}") for o in CASES[name].outputs]


def _pack(stream: Any, words: Iterable[Word]) -> list[int]:
    """Payloads of input words, whose spare lanes are 1."""
    layout = stream.payload.shape()
    lanes = layout["lanes"].shape.length
    return [
        int(layout.const({**word, "lanes": [*word["lanes"], *[1] * (lanes - len(word["lanes"]))]})
            .as_value().value)
        for word in words
    ]  # fmt: skip


def _compare(case: Case, index: int, payload: int, expected: Word) -> None:
    output = case.unit.o[0] if isinstance(case.unit.o, list) else case.unit.o
    actual = output.payload.shape().from_bits(payload)
    for field, value in expected.items():
        found = actual[field]
        if isinstance(value, list):
            found = list(found)[: len(value)]
        assert found == value, f"word {index}: {field} is {found}, expected {value}"
