"""Activations whose levels are not evenly spaced, from layers to integers and back from files."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from tests.definitions import reference
from tests.low_bit import random_multi_threshold
from tests.onnx_models import executed, round_trip
from xnorflow import nn as layers
from xnorflow.errors import LoweringError, NetworkError
from xnorflow.ir import INPUT, FeatureMap, Int, IntegerConv, MultiThreshold, Network, UInt, xnf
from xnorflow.nn import BinaryConv2d, Border, LevelActivation, SignWeight
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.frontend.qonnx.exporting import export_qonnx
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.grid import Grid


FRAME = FeatureMap(8, 8, 1, UInt(8))


def model_of(levels, *, seed=0, padding=1):
    """Levels behind a batch norm, a pool, a layer with padding and a dense one."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        layers.IntegerConv2d(1, 6, 3, mean=(0.4,), deviation=(0.3,)),
        nn.BatchNorm2d(6),
        LevelActivation(levels, scale=0.4),
        nn.MaxPool2d(2),
        layers.BinaryConv2d(6, 8, 3, layers.IntegerWeight(2), padding=padding),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        layers.IntegerLinear(
            8 * (1 + 2 * padding) ** 2, 5, LevelActivation(levels, scale=0.4), bits=6
        ),
    ).double()
    for norm in (model[1], model[5]):
        nn.init.normal_(norm.weight, std=3)
        nn.init.normal_(norm.bias)
    model.train()(torch.randint(0, 256, (100, 1, 8, 8)).double())
    return model.eval()


def frames(count=200):
    return np.random.default_rng(0).integers(0, 256, (count, *FRAME.shape), np.uint8)


LEVELS = [
    ((0, 1, 2, 4, 8), (0, 1, 2, 4, 8)),
    ((-4, -2, -1, 0, 1, 2, 4), (0, 2, 3, 4, 5, 6, 8)),
    ((-0.25, 0.5, Fraction(5, 4)), None),
    ((0, Fraction(1, 3), 1), (0, 1, 3)),
    ((1, 2, 5), (0, 1, 4)),
]


@pytest.mark.parametrize(("levels", "codes"), LEVELS)
def test_networks_equal_their_models(levels, codes):
    model = model_of(levels)
    network = lower(model, input=FRAME)
    found = [node for node in network.nodes if isinstance(node, MultiThreshold)]
    assert [node.levels for node in found] == [codes] * 2
    report = compare(model, network, torch.tensor(frames()))
    assert report.differing == 0, str(report)
    maps = golden(network, frames(), keep=[node.name for node in found]).maps
    for node in found:
        assert maps[node.name].unique().tolist() == list(node.codes)


def test_nearest_levels_and_gradients():
    quantiser = LevelActivation((0, 1, 2, 4, 8), scale=0.5).double()
    x = torch.tensor([[-1.0, 0.25, 0.7, 1.5, 2.9, 3.0, 9.0]], dtype=torch.float64)
    level, scale = quantiser.encode(x.requires_grad_())
    assert level.tolist() == [[0, 1, 1, 4, 4, 8, 8]]
    (level * scale).sum().backward()
    assert x.grad.tolist() == [[0, 1, 1, 1, 1, 1, 0]]
    inside = sum(
        q - v / 0.5 for q, v in zip((1, 1, 4, 4, 8), (0.25, 0.7, 1.5, 2.9, 3), strict=True)
    )
    expected = (inside + 8) * (7 * 8) ** -0.5 * 0.5
    assert quantiser.log_scale.grad.item() == pytest.approx(expected)


def test_ties_are_rounded_up():
    x = torch.tensor([-0.5, 0.4999, 0.5, 1.9999, 2.0])
    quantiser = LevelActivation((0, 1, 3))
    assert quantiser.nearest(x).tolist() == [0, 0, 1, 1, 3]
    assert quantiser.steps().thresholds == ((Fraction(1, 2),), (Fraction(2),))


def levelled(seed, *, classes):
    """Node of random levels, thresholds, directions and border classes, and what it gets."""
    rng = np.random.default_rng([seed, 3])
    x = FeatureMap(3, 2, 4, Int(6))
    while True:
        node = random_multi_threshold(rng, "act", INPUT, x, int(rng.integers(1, 4)))
        if (node.classes is not None) == classes and node.inverted is not None:
            break
    rest = rng.choice(np.arange(1, 16), node.steps, replace=False)
    return replace(node, levels=(0, *sorted(rest.tolist()))), x


def network_of(node, x):
    weights = np.random.default_rng(5).integers(-3, 4, (2, *x.shape))
    return Network("net", x, (node, IntegerConv("scores", "act", weights)), ())


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_golden_and_repeated_thresholds_follow_the_definition(seed, classes):
    node, x = levelled(seed, classes=classes)
    plain = replace(node, thresholds=node.repeated(), levels=None)
    values = np.random.default_rng(seed).integers(-32, 32, (40, *x.shape))
    found = [
        golden(network_of(each, x), values, keep=["act"]).maps["act"].numpy()
        for each in (node, plain)
    ]
    network = network_of(node, x)
    expected = np.array([reference(network, frame)[0]["act"] for frame in values])
    assert np.array_equal(found[0], expected)
    assert np.array_equal(found[1], expected)


def test_files_have_levels_that_are_not_even():
    node, x = levelled(0, classes=True)
    network = network_of(node, x)
    data = xnf.dumps(network)
    again = xnf.loads(data)
    assert xnf.dumps(again) == data
    assert again.nodes[0].levels == node.levels
    even = replace(node, levels=tuple(range(node.steps + 1)))
    assert even.levels is None
    plain = xnf.dumps(replace(network, nodes=(even, *network.nodes[1:])))
    assert b"levels" in data
    assert b"levels" not in plain


@pytest.mark.parametrize("levels", [(0, 1, 2, 4, 8), (-4, -1, 0, 1, 2), (1, 2, 5)])
@pytest.mark.parametrize("padding", [0, 1])
def test_onnx_files_repeat_thresholds(tmp_path, levels, padding):
    network = lower(model_of(levels, padding=padding), input=FRAME)
    again = round_trip(network, tmp_path / "net.onnx", frames(20))
    first, second = (
        [node.levels for node in net.nodes if isinstance(node, MultiThreshold)]
        for net in (network, again)
    )
    assert first == second != [None, None]


def test_onnx_files_may_have_thresholds_for_each_pixel(tmp_path):
    network = network_of(*levelled(2, classes=True))
    export_qonnx(network, tmp_path / "net.onnx")
    executed(
        network, tmp_path / "net.onnx", np.random.default_rng(0).integers(-32, 32, (5, 3, 2, 4))
    )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: LevelActivation((0, 1)),
            "levels must be three rising numbers or more, not (0, 1)",
        ),
        (
            lambda: LevelActivation((0, 2, 2)),
            "levels must be three rising numbers or more, not (0, 2, 2)",
        ),
        (
            lambda: LevelActivation((0, 1, 16)),
            "levels must be multiples of one step up to 15 above the lowest, not (0, 1, 16)",
        ),
        (lambda: LevelActivation("abc"), "levels must be numbers, not 'abc'"),
        (
            lambda: LevelActivation((0, 1, 3), scale=-1),
            "the scale of activations must be above 0, not -1",
        ),
        (
            lambda: BinaryConv2d(
                1, 1, 3, SignWeight(), LevelActivation((0, 1, 3)), padding=1, border=Border.LOWER
            ),
            "a border of the lower level needs a quantiser of two levels",
        ),
        *(
            (
                lambda levels=levels: MultiThreshold("act", INPUT, [[1], [2]], levels=levels),
                f"act: levels must be 3 rising integers from 0 to 15 at most, not {levels!r}",
            )
            for levels in ((0, 1), (1, 2, 3), (0, 2, 1), (0, 1, 16), (0, 1, 2.0), ())
        ),
    ],
)
def test_refuses_levels(make, text):
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}$"):
        make()


def test_grids_are_for_two_levels():
    layer = BinaryConv2d(2, 2, 3, SignWeight(), LevelActivation((0, 1, 3)))
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2, 3),
    )  # fmt: skip
    with pytest.raises(LoweringError, match=r"^2 .BinaryConv2d. must have quantisers of two level"):
        prepare(model, Grid(), FRAME)
