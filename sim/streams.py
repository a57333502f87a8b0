"""Stream transfers in cocotb benches: send, receive, and watch the rules.

Everything happens at falling clock edges: what is written there settles before the rising edge
at which the transfer takes place, so that benches behave alike on every simulator.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import FallingEdge, ReadOnly


__all__ = [
    "Monitor",
    "Stream",
    "Transfer",
    "amaranth_stream",
    "axi_stream",
    "receive",
    "reset",
    "send",
    "start_clock",
]

_PERIOD = 10  # ns


@dataclass(frozen=True)
class Stream:
    """Handles of a stream's signals; a payload is a tuple of integers, one for each of ``data``."""

    clock: Any
    valid: Any
    ready: Any
    data: tuple[Any, ...]


@dataclass(frozen=True)
class Transfer:
    """A payload, and the clock cycle (since the start of the simulation) of its transfer."""

    payload: tuple[int, ...]
    cycle: int


def start_clock(clock: Any) -> None:
    """Start to drive a clock."""
    Clock(clock, _PERIOD, unit="ns").start()


async def reset(clock: Any, rst: Any, *, cycles: int = 2, active: int = 1) -> None:
    """Assert a synchronous reset, which is at ``active`` then, for some cycles."""
    await FallingEdge(clock)
    rst.value = active
    for _ in range(cycles):
        await FallingEdge(clock)
    rst.value = 1 - active


def amaranth_stream(clock: Any, dut: Any, name: str) -> Stream:
    """Stream ``name`` of an Amaranth component, whose payload is one integer."""
    valid, ready, payload = (
        getattr(dut, f"{name}__{member}") for member in ("valid", "ready", "payload")
    )
    return Stream(clock, valid, ready, (payload,))


def axi_stream(clock: Any, dut: Any, prefix: str, *members: str) -> Stream:
    """AXI4-Stream ``prefix``, whose payloads are its ``members``, such as ``"tdata", "tlast"``."""
    valid, ready, *data = (
        getattr(dut, f"{prefix}_{member}") for member in ("tvalid", "tready", *members)
    )
    return Stream(clock, valid, ready, tuple(data))


class Monitor:
    """Records what a stream transfers, and holds it to the rules of streams.

    The rules: once valid, valid and payload stay until the transfer.

    Parameters
    ----------
    stream : Stream

    Attributes
    ----------
    transfers : list of Transfer
        What was transferred so far.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.transfers: list[Transfer] = []
        self._offered: tuple[int, ...] | None = None

    def sample(self) -> None:
        """Look at the signals, once in every cycle, when they have settled.

        Raises
        ------
        AssertionError
            If a rule is broken.
        """
        payload = None
        if self.stream.valid.value:
            payload = tuple(int(handle.value) for handle in self.stream.data)
        if self._offered is not None:
            assert payload is not None, "valid fell before the transfer"
            assert payload == self._offered, "the payload changed before the transfer"
        if payload is not None and self.stream.ready.value:
            self.transfers.append(Transfer(payload, int(get_sim_time("ns")) // _PERIOD))
            payload = None
        self._offered = payload

    async def run(self) -> None:
        """Sample forever; for `cocotb.start_soon`. A broken rule fails the running test."""
        while True:
            await FallingEdge(self.stream.clock)
            await ReadOnly()
            self.sample()


async def send(
    stream: Stream, payloads: Iterable[tuple[int, ...]], *, stall: float = 0.0, seed: int = 0
) -> list[Transfer]:
    """Offer payloads one after the other, waiting in each cycle with probability ``stall``.

    Returns
    -------
    list of Transfer
        At the falling edge after the last one.
    """
    waits = random.Random(f"{seed} send")
    monitor = Monitor(stream)
    await FallingEdge(stream.clock)
    for count, payload in enumerate(payloads, start=1):
        while waits.random() < stall:
            stream.valid.value = 0
            await FallingEdge(stream.clock)
        stream.valid.value = 1
        for handle, value in zip(stream.data, payload, strict=True):
            handle.value = value
        while len(monitor.transfers) < count:
            await ReadOnly()
            monitor.sample()
            await FallingEdge(stream.clock)
    stream.valid.value = 0
    return monitor.transfers


async def receive(
    stream: Stream, count: int, *, stall: float = 0.0, seed: int = 0
) -> list[Transfer]:
    """Take ``count`` payloads, declining in each cycle with probability ``stall``.

    Returns
    -------
    list of Transfer
        At the falling edge after the last one.

    Raises
    ------
    AssertionError
        If the stream breaks a rule.
    """
    waits = random.Random(f"{seed} receive")
    monitor = Monitor(stream)
    await FallingEdge(stream.clock)
    while len(monitor.transfers) < count:
        stream.ready.value = int(waits.random() >= stall)
        await ReadOnly()
        monitor.sample()
        await FallingEdge(stream.clock)
    stream.ready.value = 0
    return monitor.transfers
