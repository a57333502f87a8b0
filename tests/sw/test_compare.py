from dataclasses import replace

import numpy as np
import pytest
import torch

from xnorflow.errors import DataError
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.compare import compare
from xnorflow.sw.lower import lower
from xnorflow.sw.models.cnv import Conv, ConvNet
from xnorflow.sw.models.mlp import MLP
from xnorflow.sw.models.pixels import IntegerPixels


FRAME = FeatureMap(2, 3, 1, UInt(8))
FRAMES = torch.tensor(np.random.default_rng(0).integers(0, 256, (50, 2, 3, 1), np.uint8))


def model():
    torch.manual_seed(0)
    return MLP(6, (7, 5), 3)


def network_of(model):
    return lower(model, input=FRAME)


def raised(network, name, by):
    """The network with the thresholds of one node raised."""
    nodes = tuple(
        replace(node, thresholds=node.thresholds + by) if node.name == name else node
        for node in network.nodes
    )
    return replace(network, nodes=nodes)


def test_nothing_differs():
    report = compare(model(), network_of(model()), FRAMES)
    assert report.differing == 0
    assert str(report) == (
        "network and float64 model, 50 frames:\n"
        "  fc1_bits: 0 of 300 values differ\n"
        "  fc2_bits: 0 of 350 values differ\n"
        "  fc3_bits: 0 of 250 values differ\n"
        "  labels: 0 of 50 differ"
    )


@pytest.mark.parametrize("name", ["fc1_bits", "fc2_bits", "fc3_bits"])
def test_differences_are_counted_where_they_are(name):
    report = compare(model(), raised(network_of(model()), name, 1), FRAMES)
    first = next(layer for layer in report.layers if layer.differing)
    assert first.name == name
    assert report.differing == report.labels + sum(layer.differing for layer in report.layers)


def test_close_differences_are_told_apart():
    """At first every sum of 0 meets its threshold, where a rounding error could decide."""
    before = compare(model(), network_of(model()), FRAMES)
    report = compare(model(), raised(network_of(model()), "fc2_bits", 1), FRAMES)
    hidden = report.layers[1]
    assert before.layers[1].close == 0
    assert hidden.close == hidden.differing > 0
    assert (
        f"fc2_bits: {hidden.differing} of 350 values differ, {hidden.close} of these within 1e-09"
        in str(report)
    )
    model_ = model()
    with torch.no_grad():
        model_.norm1.bias.fill_(-1e-6)
    assert compare(model_, network_of(model()), FRAMES).layers[1].close == 0


def test_convolutions_are_compared_after_their_pools():
    torch.manual_seed(0)
    convs = [Conv(4, padding=1, pool=2), Conv(3, 1)]
    conv_net = ConvNet((1, 4, 6), convs, (), 3, pixels=IntegerPixels((0.5,), (0.3,)))
    frames = torch.tensor(np.random.default_rng(0).integers(0, 256, (50, 4, 6, 1), np.uint8))
    network = lower(conv_net, input=FeatureMap(4, 6, 1, UInt(8)))
    assert str(compare(conv_net, network, frames)) == (
        "network and float64 model, 50 frames:\n"
        "  conv2_bits: 0 of 1,200 values differ\n"
        "  fc1_bits: 0 of 900 values differ\n"
        "  labels: 0 of 50 differ"
    )
    with torch.no_grad():
        conv_net.norm1.bias.fill_(0.5)
    report = compare(conv_net, network, frames)
    assert report.layers[0].differing > 0


def test_labels_are_counted():
    network = network_of(model())
    model_ = model()
    with torch.no_grad():
        model_.fc3.weight.neg_()
    report = compare(model_, network, FRAMES)
    assert report.layers[-1].differing == 0
    assert report.differing == report.labels > 25


def test_large_maps_come_in_small_batches(monkeypatch):
    monkeypatch.setattr("xnorflow.sw.compare._BATCH_VALUES", 43 * 20)
    calls = []
    compare(model(), network_of(model()), FRAMES, progress=lambda done, _: calls.append(done))
    assert calls == [20, 40, 50]


def test_progress():
    calls = []
    frames = torch.zeros((2300, 2, 3, 1), dtype=torch.uint8)
    compare(
        model(),
        network_of(model()),
        frames,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1000, 2300), (2000, 2300), (2300, 2300)]


def test_refuses_other_frames():
    with pytest.raises(
        DataError, match=r"^frames must be an array of integers of shape \(n, 2, 3, 1"
    ):
        compare(model(), network_of(model()), FRAMES.transpose(1, 2))
