import numpy as np
import pytest
import torch

from xnorflow.errors import DataError
from xnorflow.ir import Network, Threshold
from xnorflow.sw.compare import compare
from xnorflow.sw.lower import lower
from xnorflow.sw.models.chain import Chain, ChainConfig, ConvConfig, Method
from xnorflow.sw.models.pixels import IntegerPixels


FRAMES = torch.tensor(np.random.default_rng(0).integers(0, 256, (50, 2, 3, 1), np.uint8))


def model():
    torch.manual_seed(0)
    return Chain(ChainConfig((7, 5), Method.SIGN, (2, 3, 1), 3))


def raised(network, name, by):
    """The network with the thresholds of one node raised."""
    nodes = tuple(
        Threshold(node.name, node.source, node.thresholds + by) if node.name == name else node
        for node in network.nodes
    )
    return Network(network.name, network.input, nodes, network.labels)


def test_nothing_differs():
    report = compare(model(), lower(model()), FRAMES)
    assert report.differing == 0
    assert str(report) == (
        "network and float64 model, 50 frames:\n"
        "  input_bits: 0 of 300 values differ\n"
        "  act1: 0 of 350 values differ\n"
        "  act2: 0 of 250 values differ\n"
        "  labels: 0 of 50 differ"
    )


@pytest.mark.parametrize("name", ["input_bits", "act1", "act2"])
def test_differences_are_counted_where_they_are(name):
    report = compare(model(), raised(lower(model()), name, 1), FRAMES)
    first = next(layer for layer in report.layers if layer.differing)
    assert first.name == name
    assert report.differing == report.labels + sum(layer.differing for layer in report.layers)


def test_close_differences_are_told_apart():
    """At first every sum of 0 meets its threshold, where a rounding error could decide."""
    before = compare(model(), lower(model()), FRAMES)
    report = compare(model(), raised(lower(model()), "act1", 1), FRAMES)
    act1 = report.layers[1]
    assert before.layers[1].close == 0
    assert act1.close == act1.differing > 0
    assert (
        f"act1: {act1.differing} of 350 values differ, {act1.close} of these within 1e-09"
        in str(report)
    )
    model_ = model()
    with torch.no_grad():
        model_.norms[0].bias.fill_(-1e-6)
    assert compare(model_, lower(model()), FRAMES).layers[1].close == 0


def test_convolutions_are_compared_after_their_pools():
    torch.manual_seed(0)
    layers = (ConvConfig(4, padding=1, pool=2), ConvConfig(3, 1))
    config = ChainConfig(
        (), Method.SIGN, (4, 6, 1), 3, layers, pixels=IntegerPixels((0.5,), (0.3,))
    )
    chain = Chain(config)
    frames = torch.tensor(np.random.default_rng(0).integers(0, 256, (50, 4, 6, 1), np.uint8))
    network = lower(chain)
    assert str(compare(chain, network, frames)) == (
        "network and float64 model, 50 frames:\n"
        "  pool1: 0 of 1,200 values differ\n"
        "  act2: 0 of 900 values differ\n"
        "  labels: 0 of 50 differ"
    )
    with torch.no_grad():
        chain.norms[0].bias.fill_(0.5)
    report = compare(chain, network, frames)
    assert report.layers[0].differing > 0


def test_labels_are_counted():
    network = lower(model())
    model_ = model()
    with torch.no_grad():
        model_.layers[-1].weight.neg_()
    report = compare(model_, network, FRAMES)
    assert report.layers[-1].differing == 0
    assert report.differing == report.labels > 25


def test_large_maps_come_in_small_batches(monkeypatch):
    monkeypatch.setattr("xnorflow.sw.compare._BATCH_VALUES", 43 * 20)
    calls = []
    compare(model(), lower(model()), FRAMES, progress=lambda done, _: calls.append(done))
    assert calls == [20, 40, 50]


def test_progress():
    calls = []
    frames = torch.zeros((2300, 2, 3, 1), dtype=torch.uint8)
    compare(
        model(), lower(model()), frames, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1000, 2300), (2000, 2300), (2300, 2300)]


def test_refuses_other_frames():
    with pytest.raises(
        DataError, match=r"^frames must be an array of integers of shape \(n, 2, 3, 1"
    ):
        compare(model(), lower(model()), FRAMES.transpose(1, 2))
