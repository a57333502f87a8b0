from types import SimpleNamespace

import pytest

from xnorflow.sim import streams
from xnorflow.sim.streams import Monitor, Stream


def watch(monkeypatch, cycles):
    """Show (valid, ready, payload) of some cycles to a monitor."""
    handles = [SimpleNamespace(value=0) for _ in range(3)]
    valid, ready, data = handles
    monitor = Monitor(Stream(None, valid, ready, (data,)))
    for cycle, values in enumerate(cycles):
        monkeypatch.setattr(streams, "get_sim_time", lambda _, cycle=cycle: 10.0 * cycle + 5)
        for handle, value in zip(handles, values, strict=True):
            handle.value = value
        monitor.sample()
    return [(transfer.cycle, *transfer.payload) for transfer in monitor.transfers]


def test_records_transfers(monkeypatch):
    cycles = [(0, 1, 9), (1, 0, 5), (1, 1, 5), (1, 1, 6), (0, 0, 6), (1, 1, 7)]
    assert watch(monkeypatch, cycles) == [(2, 5), (3, 6), (5, 7)]


def test_notices_valid_that_falls(monkeypatch):
    with pytest.raises(AssertionError, match=r"^valid fell before the transfer"):
        watch(monkeypatch, [(1, 0, 5), (0, 1, 5)])


def test_notices_a_payload_that_changes(monkeypatch):
    with pytest.raises(AssertionError, match=r"^the payload changed before the transfer"):
        watch(monkeypatch, [(1, 0, 5), (1, 1, 6)])
