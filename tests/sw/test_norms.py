"""Batch norms at the edges of what they can be: float64 = integers = hardware."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.hw.driving import run, words_of
from xnorflow import nn as layers
from xnorflow.errors import LoweringError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import Counts, FeatureMap, UInt
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.grid import Grid


FRAME = FeatureMap(4, 4, 1, UInt(8))
CHANNELS = 10


def edges(norm, *, variance=True):
    """A norm whose channels have γ = 0 and β of each sign, γ < 0, tiny ones, and variances of 0."""
    nothing = 1e-30 if norm.eps == 0 else 0.0
    norm.running_mean.copy_(torch.linspace(-3.3, 4.4, CHANNELS))
    norm.running_var.fill_(1.7)
    if variance:
        norm.running_var[5:8] = torch.tensor([nothing, 1e-30, nothing])
    if norm.affine:
        norm.weight.data = torch.tensor([0.0, 0, 0, -0.5, 0.7, 1, -1, 0, 1e-20, -1e-20])
        norm.bias.data = torch.tensor([0.3, -0.3, 0, 0.1, 0.2, 0, 0.1, -1, 0, 1e-21])
    return norm


class Net(nn.Module):
    """Norms behind sums of integers and of bits, in front of a pool and behind one."""

    def __init__(self, activation, **options):
        super().__init__()
        self.stem = layers.IntegerConv2d(1, CHANNELS, 3, mean=(0.5,), deviation=(0.2,), padding=1)
        self.norm1 = nn.BatchNorm2d(CHANNELS, **options)
        self.act1 = activation()
        self.pool = nn.MaxPool2d(2)
        self.conv = layers.BinaryConv2d(CHANNELS, CHANNELS, 3, layers.SignWeight(), padding=1)
        self.norm2 = nn.BatchNorm2d(CHANNELS, **options)
        self.act2 = activation()
        self.flatten = nn.Flatten()
        self.fc = layers.BinaryLinear(4 * CHANNELS, 3, layers.SignWeight(shared_scale=True))

    def forward(self, x):
        x = self.pool(self.act1(self.norm1(self.stem(x))))
        return self.fc(self.flatten(self.act2(self.norm2(self.conv(x)))))


def frames(count):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *FRAME.shape), dtype=torch.uint8, generator=generator)


def check(model, network, *, hardware=0):
    report = compare(model, network, frames(300))
    assert report.differing == 0, str(report)
    expected = golden(network, frames(300)).scores
    assert len(expected.unique(dim=0)) > 2
    if not hardware:
        return
    design = fold(network, ECP5_85F, cycles=3000)
    _, results = run(design, [words_of(x, design.input_lanes) for x in frames(hardware).numpy()])
    assert [scores for _, _, scores in results] == expected[:hardware].tolist()


def codes():
    """Of 2 bits, with a scale that is a power of two: equal scores are equal in float64, too."""
    quantiser = layers.IntegerActivation(2, signed=True)
    quantiser.log_scale.data = torch.tensor(0.5).double().log()
    return quantiser


ACTIVATIONS = {"bits": layers.Sign, "codes": codes}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "options", [{}, {"eps": 0.0}, {"momentum": None}, {"affine": False}], ids=str
)
def test_bits_and_codes_are_exact(activation, options):
    torch.manual_seed(0)
    model = Net(ACTIVATIONS[activation], **options)
    for norm in (model.norm1, model.norm2):
        edges(norm)
    model = model.double().eval()
    check(model, lower(model, input=FRAME), hardware=0 if options else 2)


class Residual(nn.Module):
    """Norms of sums of integers and of bits on their way to a stream."""

    def __init__(self, **options):
        super().__init__()
        self.stem = layers.IntegerConv2d(1, CHANNELS, 3, mean=(0.5,), deviation=(0.2,), padding=1)
        self.norm1 = nn.BatchNorm2d(CHANNELS, **options)
        self.conv = layers.BinaryConv2d(
            CHANNELS, CHANNELS, 3, layers.SignWeight(), layers.Sign(), padding=1
        )
        self.norm2 = nn.BatchNorm2d(CHANNELS, **options)
        self.act = nn.PReLU(CHANNELS)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(CHANNELS, 3)

    def forward(self, x):
        x = self.norm1(self.stem(x))
        x = self.act(self.norm2(self.conv(x)) + x)
        return self.fc(self.pool(x).flatten(1))


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}], ids=str)
def test_streams_on_a_grid_are_exact(options):
    """Where a variance is tiny, what leaves the range is clipped, in training as in hardware."""
    torch.manual_seed(0)
    model = Residual(**options)
    for norm in (model.norm1, model.norm2):
        edges(norm)
    model = prepare(model.double().eval(), Grid(14, 6), FRAME)
    check(model, lower(model), hardware=0 if options else 2)


@pytest.mark.parametrize("variance", [1e-40, 0.0])
def test_a_stream_is_refused_that_no_integers_hold(variance):
    model = Residual(eps=0.0)
    model.norm2.running_var[3] = variance
    model = prepare(model.double().eval(), Grid(14, 6), FRAME)
    message = r"^no network can hold this model: norm2 has a scale or a shift beyond 62 bits"
    with pytest.raises(LoweringError, match=message):
        lower(model)


def test_a_variance_of_0_is_refused():
    """Without ε there is no such value."""
    model = Net(layers.Sign, eps=0.0)
    model.norm1.running_var[3] = 0.0
    with pytest.raises(LoweringError, match=r"^norm1 .* has a variance that is not above 0"):
        lower(model, input=FRAME)


def test_statistics_of_the_batch_are_refused():
    text = r"^norm1 .BatchNorm2d. has no running statistics: make it with track_running_stats=True"
    with pytest.raises(LoweringError, match=text):
        prepare(Residual(track_running_stats=False), Grid(14, 6), FRAME)
    with pytest.raises(LoweringError, match=text):
        lower(Net(layers.Sign, track_running_stats=False), input=FRAME)


def test_scores_may_be_counts():
    """Without the scale behind it, the last layer gives the labels of the model."""
    torch.manual_seed(0)
    model = Net(layers.Sign)
    edges(model.norm1, variance=False)
    edges(model.norm2, variance=False)
    model = model.double().eval()
    network = lower(model, input=FRAME)
    *before, counts, scores, label = network.nodes
    bare = replace(network, nodes=(*before, counts, replace(label, source=counts.name)))
    assert len({*scores.scale.tolist()}) == len({*scores.offset.tolist()}) == 1
    assert isinstance(bare.maps[counts.name].type, Counts)
    check(model, bare, hardware=1)
