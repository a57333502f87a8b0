import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.definitions import reference
from tests.strategies import networks, random_frames
from xnorflow.errors import DataError
from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    ArgMax,
    BinaryConv,
    Bit,
    FeatureMap,
    Int,
    Network,
    Rounding,
    Threshold,
    UInt,
)
from xnorflow.sw import golden as module
from xnorflow.sw.golden import golden


@given(networks, st.integers(0, 2**32 - 1))
def test_equals_the_definitions(network, seed):
    frames = random_frames(np.random.default_rng(seed), network.input, 5)

    result = golden(network, frames, keep=network.maps)

    assert result.maps.keys() == network.maps.keys()
    assert result.popcounts.keys() == {
        node.name for node in network.nodes if isinstance(node, BinaryConv) and node.popcount
    }
    for n, frame in enumerate(frames):
        maps, popcounts = reference(network, frame)
        for name, values in result.maps.items():
            is_bit = isinstance(network.maps[name].type, Bit)
            assert values.dtype == (torch.bool if is_bit else torch.int64)
            np.testing.assert_array_equal(values[n].numpy(), maps[name])
        for name, values in result.popcounts.items():
            np.testing.assert_array_equal(values[n].numpy(), popcounts[name])
        assert result.scores[n].tolist() == maps[network.scores][0, 0].tolist()
        if network.label is None:
            assert result.labels is None
        else:
            assert result.labels[n].item() == maps["label"][0, 0, 0]


def classifier(filters=3, side=4):
    rng = np.random.default_rng(filters)
    return Network(
        "net",
        FeatureMap(side, side, 1, UInt(8)),
        (
            Threshold("bits", INPUT, np.array([128])),
            BinaryConv("conv", "bits", rng.random((filters, side, side, 1)) < 0.5, popcount=True),
            Affine("scores", "conv", np.full(filters, 2), np.zeros(filters, int),
                   np.ones(filters, int)),
            ArgMax("label", "scores"),
        ),
        tuple("abcdefgh"[:filters]),
    )  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 20])
def test_batches_do_not_show(monkeypatch, count):
    network = classifier()
    frames = random_frames(np.random.default_rng(count), network.input, count)
    whole = golden(network, frames, keep=network.maps)

    monkeypatch.setattr(module, "_BATCH_BYTES", 7 * 64)
    parts = golden(network, frames, keep=network.maps)

    assert whole.scores.shape == (count, 3)
    assert whole.labels.shape == (count,)
    assert torch.equal(parts.scores, whole.scores)
    assert torch.equal(parts.labels, whole.labels)
    for name, values in whole.maps.items():
        assert torch.equal(parts.maps[name], values)
    assert torch.equal(parts.popcounts["conv"], whole.popcounts["conv"])


@pytest.fixture
def set_threads():
    """Set the number of PyTorch's threads, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 50])
def test_threads_do_not_show(monkeypatch, set_threads, threads):
    network = classifier()
    frames = random_frames(np.random.default_rng(threads), network.input, 40)
    whole = golden(network, frames, keep=network.maps)
    used = set()
    execute = module._execute

    def note_thread(*arguments):
        assert torch.get_num_threads() == 1
        used.add(threading.get_ident())
        return execute(*arguments)

    monkeypatch.setattr(module, "_execute", note_thread)
    set_threads(5)
    parts = golden(network, frames, keep=network.maps, threads=threads)
    assert torch.get_num_threads() == 5
    # Threads that start afterwards have as many as before, too.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 5

    assert len(used) <= threads
    assert threading.get_ident() not in used
    assert torch.equal(parts.labels, whole.labels)
    for name, values in whole.maps.items():
        assert torch.equal(parts.maps[name], values)
    assert torch.equal(parts.popcounts["conv"], whole.popcounts["conv"])


def test_as_many_threads_as_pytorch_uses(monkeypatch, set_threads):
    network = classifier()
    frames = random_frames(np.random.default_rng(0), network.input, 39)
    expected = golden(network, frames).scores
    # Each of the three batches waits for the others.
    barrier = threading.Barrier(3)
    execute = module._execute

    def meet(*arguments):
        barrier.wait(timeout=60)
        return execute(*arguments)

    monkeypatch.setattr(module, "_execute", meet)
    set_threads(3)
    assert torch.equal(golden(network, frames).scores, expected)


def test_refuses_less_than_a_thread():
    network = classifier()
    frames = random_frames(np.random.default_rng(0), network.input, 2)
    with pytest.raises(ValueError, match=r"^there must be at least one thread, not 0$"):
        golden(network, frames, threads=0)


def test_stops_when_it_is_interrupted(monkeypatch):
    network = classifier()
    frames = random_frames(np.random.default_rng(0), network.input, 1000)
    monkeypatch.setattr(module, "_BATCH_BYTES", 64)
    executed = []
    execute = module._execute

    def note(*arguments):
        executed.append(None)
        time.sleep(0.001)
        return execute(*arguments)

    monkeypatch.setattr(module, "_execute", note)

    def interrupt(done, _all):
        if done == 3:
            raise KeyboardInterrupt

    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        golden(network, frames, progress=interrupt, threads=2)
    assert len(executed) < 100
    assert torch.get_num_threads() == before


def test_reports_progress(monkeypatch):
    network = classifier()
    frames = random_frames(np.random.default_rng(0), network.input, 20)
    monkeypatch.setattr(module, "_BATCH_BYTES", 7 * 64)
    reports = []
    golden(network, frames, progress=lambda *report: reports.append(report), threads=2)
    done = [0, *(each for each, _all in reports)]
    assert {all_ for _done, all_ in reports} == {20}
    assert sorted(np.diff(done).tolist()) == [6, 7, 7]
    assert done[-1] == 20


def test_keeps_only_what_is_asked_for():
    network = classifier()
    frames = random_frames(np.random.default_rng(0), network.input, 2)
    assert golden(network, frames).maps == {}
    assert golden(network, frames).popcounts == {}
    kept = golden(network, frames, keep=["conv", INPUT])
    assert kept.maps.keys() == {"conv", INPUT}
    assert kept.popcounts.keys() == {"conv"}
    assert kept.maps["conv"].shape == (2, 1, 1, 3)
    assert kept.popcounts["conv"].shape == (2, 1, 1, 1)


def test_counts_that_several_nodes_use():
    rng = np.random.default_rng(0)
    nodes = (
        BinaryConv("conv", INPUT, rng.random((3, 2, 2, 5)) < 0.5),
        Affine("one", "conv", np.array([1, -2, 3]), np.array([4, 5, 6]), rounding=Rounding(0, 9)),
        Affine("two", "conv", np.array([7, 8, -9]), np.array([0, 1, 2]), rounding=Rounding(0, 9)),
        Add("scores", "one", "two", 9),
        ArgMax("label", "scores"),
    )
    network = Network("shared", FeatureMap(2, 2, 5, Bit()), nodes, tuple("abc"))
    frames = random_frames(rng, network.input, 10)
    result = golden(network, frames)
    for frame, scores in zip(frames, result.scores.tolist(), strict=True):
        maps, _ = reference(network, frame)
        assert scores == maps["scores"][0, 0].tolist()


def test_takes_tensors_and_read_only_arrays():
    network = classifier()
    frames = random_frames(np.random.default_rng(0), network.input, 2)
    scores = golden(network, frames).scores
    assert torch.equal(golden(network, torch.tensor(frames)).scores, scores)
    frames.setflags(write=False)
    assert torch.equal(golden(network, frames).scores, scores)


def test_counts_are_exact_at_the_largest_fan_in():
    """The widest kernel that the contract allows, where float32 has no spare bit left."""
    taps = (1 << 24) - 1
    side = FeatureMap(255, 273, 241, Bit())
    assert side.size == taps
    weights = np.ones((2, *side.shape), bool)
    weights[1, 0, 0, 0] = False
    nodes = (
        BinaryConv("conv", INPUT, weights),
        Affine("scores", "conv", np.array([1, 1]), np.array([0, 0])),
        ArgMax("label", "scores"),
    )
    frames = np.ones((1, *side.shape), np.uint8)
    result = golden(Network("wide", side, nodes, ("a", "b")), frames)
    assert result.scores.tolist() == [[taps, taps - 1]]


def test_ties_go_to_the_lowest_index():
    nodes = (
        Affine("scores", INPUT, np.array([1, 1, 1, 1]), np.array([0, 1, 1, 0])),
        ArgMax("label", "scores"),
    )
    network = Network("ties", FeatureMap(1, 1, 4, Int(9)), nodes, tuple("abcd"))
    frames = np.zeros((100, 1, 1, 4), np.int64)
    assert golden(network, frames).labels.tolist() == [1] * 100


def test_refuses_frames():
    network = classifier()
    text = (
        "frames must be an array of integers of shape (n, 4, 4, 1), "
        "not of float64 of shape (3, 4, 4)"
    )
    with pytest.raises(DataError, match=rf"^{re.escape(text)}$"):
        golden(network, np.zeros((3, 4, 4)))
    with pytest.raises(DataError, match=r"^frames must be an array of integers, not list$"):
        golden(network, [[1]])


def test_refuses_unknown_nodes():
    network = classifier()
    with pytest.raises(KeyError, match="net has no node conv9, w"):
        golden(network, np.zeros((1, 4, 4, 1), np.uint8), keep=["w", "conv9", "conv"])
