"""Modules as users write them: float64 = integers."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from xnorflow.errors import LoweringError
from xnorflow.ir import Bit, FeatureMap, Int, Quantisation, Threshold, UInt
from xnorflow.sw.compare import compare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.gradients import sign_clipped
from xnorflow.sw.nn.input_threshold import InputThreshold
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.quantiser import (
    ActivationLevels,
    ActivationQuantiser,
    WeightLevels,
    WeightQuantiser,
)
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


PIXELS = UInt(8)


def randomise(model, seed):
    """Let all parameters and statistics be random, with a few nasty ones among them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor, low, high):
        tensor.uniform_(low, high, generator=generator)
        # Ties and constants are where exactness shows.
        snapped = torch.rand(tensor.shape, generator=generator) < 0.5
        tensor.copy_(torch.where(snapped, (tensor * 2).round() / 2, tensor))

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("level", "alpha", "log_scale")):
                parameter.uniform_(-0.5, 0.7, generator=generator)
            else:
                draw(parameter, -1, 1)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                draw(module.running_mean, -3, 3)
                module.running_var.uniform_(0.25, 4, generator=generator)
            if isinstance(module, nn.PReLU):
                module.weight.abs_()
    return model.eval()


def check(model, frame, *, count=64, seed=0, quantisation=None):
    """The lowered network makes every bit and every label that the model does."""
    network = lower(model, input=frame, quantisation=quantisation)
    rng = np.random.default_rng(seed)
    frames = rng.integers(frame.type.low, frame.type.high + 1, (count, *frame.shape))
    frames = torch.from_numpy(frames.astype(np.uint8 if frame.type.low == 0 else np.int8))
    comparison = compare(model, network, frames)
    assert comparison.layers
    unexplained = comparison.differing - sum(layer.close for layer in comparison.layers)
    assert not unexplained, str(comparison)
    return network


# -- five modules as users write them -------------------------------------------------------------


def sequential():
    return nn.Sequential(
        IntegerConv2d(1, 8, 3, mean=(0.4,), deviation=(0.3,), padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        BinaryConv2d(8, 12, 3, SignWeight(), RSign(8), padding=1),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(12),
        nn.Dropout(0.1),
        nn.Flatten(),
        BinaryLinear(48, 16, AdaBinWeight(), AdaBinActivation()),
        nn.BatchNorm1d(16),
        nn.BatchNorm1d(16, affine=False),
        BinaryLinear(16, 5, SignWeight(shared_scale=True), Sign()),
    )


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = BinaryConv2d(1, 8, 5, SignWeight(), InputThreshold(), stride=2)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = BinaryConv2d(8, 8, 2, SiManWeight(8, SiManForm.HALF), Sign())
        self.norm2 = nn.BatchNorm2d(8)
        self.fc = IntegerLinear(8, 4, Sign(), bits=6)
        self.register_buffer("shift", torch.linspace(-1, 1, 8)[:, None, None])

    def forward(self, x):
        x = functional.hardtanh(self.norm1(self.conv1(x)) * 0.5 - 0.25)
        x = functional.max_pool2d(self.norm2(self.conv2(x)) + self.shift, 2)
        return self.fc(x.view(x.size(0), -1)) / 3


@pytest.mark.parametrize(("make", "side"), [(sequential, 8), (Functional, 10)])
@pytest.mark.parametrize("seed", range(3))
def test_modules_as_users_write_them(make, side, seed):
    model = randomise(make(), seed)
    check(model, FeatureMap(side, side, 1, PIXELS), count=1000)


# -- ends -----------------------------------------------------------------------------------------


class Biased(nn.Module):
    """A last layer with biases that no integer has."""

    def __init__(self):
        super().__init__()
        self.fc = BinaryLinear(6, 8, SignWeight(shared_scale=True), InputThreshold())
        self.bias = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        return self.fc(x.flatten(1)) + self.bias


def biased():
    weights = SignWeight(shared_scale=True)
    return nn.Sequential(nn.Flatten(), InputThreshold(), BinaryLinear(6, 8, weights, bias=True))


@pytest.mark.parametrize("make", [Biased, biased])
@pytest.mark.parametrize("seed", range(20))
def test_biases_of_scores_keep_the_order_of_classes(make, seed):
    model = randomise(make(), seed)
    frames = torch.cartesian_prod(*[torch.tensor([0, 255], dtype=torch.uint8)] * 6)
    network = lower(model, input=FeatureMap(1, 6, 1, PIXELS))
    found = golden(network, frames[:, None, :, None]).scores
    logits = model.double()(frames[:, None, None].double())
    for a in range(8):
        for b in range(8):
            close = (logits[:, a] - logits[:, b]).abs() < 1e-9
            same = (logits[:, a] > logits[:, b]) == (found[:, a] > found[:, b])
            assert (same | close).all()


def test_a_network_may_end_with_its_scores():
    model = randomise(sequential(), 2)
    frame = FeatureMap(8, 8, 1, PIXELS)
    network = lower(model, input=frame, labels=())
    images = torch.randint(0, 256, (100, 8, 8, 1), dtype=torch.uint8)
    assert network.labels == ()
    assert network.nodes[-1].name == "scores"
    assert torch.equal(
        golden(network, images).scores, golden(lower(model, input=frame), images).scores
    )
    assert compare(model, network, images).differing == 0


def test_a_single_score_decides_by_its_sign():
    last = BinaryLinear(16, 1, SignWeight(shared_scale=True), Sign())
    torch.manual_seed(1)
    model = nn.Sequential(*sequential()[:-1], last)
    nn.init.constant_(model[4].activation_quantiser.bias, -0.5)
    images = torch.randint(0, 256, (300, 8, 8, 1), dtype=torch.uint8)
    with torch.no_grad():
        for _ in range(20):
            model(images.movedim(-1, 1).float())
    network = lower(model.eval(), input=FeatureMap(8, 8, 1, PIXELS), labels=("no", "yes"))
    labels = golden(network, images).labels
    assert 0 < labels.sum() < 300
    assert compare(model, network, images).differing == 0


def test_a_shape_may_be_computed():
    network = lower(randomise(Functional(), 0), input=FeatureMap(10, 10, 1, PIXELS))
    assert [type(node) for node in network.nodes].count(Threshold) == 3


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ([nn.Conv2d(1, 2, 3)], r"0 \(Conv2d\) has weights of floating point.*prepare"),
        ([nn.Flatten(), nn.Linear(16, 2)], r"1 \(Linear\) has weights of floating point"),
        ([nn.GELU()], r"0 \(GELU\) cannot be lowered: what can is"),
        ([nn.AvgPool2d(2)], r"the output is a map of 2×2 pixels from 0 \(AvgPool2d\)"),
        (
            [nn.Flatten(), BinaryLinear(15, 2, SignWeight(), Sign())],
            "mat1 and mat2 shapes cannot be multiplied",
        ),
        (
            [nn.Flatten(), BinaryLinear(16, 2, SignWeight(), InputThreshold())],
            "the classes of 1 .BinaryLinear. have different scales",
        ),
        ([nn.BatchNorm2d(1, track_running_stats=False)], "0 .BatchNorm2d. has no running"),
        ([Sign(), nn.ReLU()], "1 .ReLU. stands behind an activation quantiser"),
        ([Sign(), nn.BatchNorm2d(1)], "1 .BatchNorm2d. cannot be the end: its output must be sums"),
        (
            [BinaryConv2d(1, 1, 1, SignWeight())],
            r"0 \(BinaryConv2d\) takes bits: put an activation quantiser",
        ),
        ([Sign(), Sign()], "1 .Sign. binarises what is binary already"),
        ([nn.Identity()], "the last operation of the model must be what it returns"),
    ],
)
def test_what_cannot_be_lowered_is_refused(layers, match):
    with pytest.raises(LoweringError, match=match):
        lower(nn.Sequential(*layers), input=FeatureMap(4, 4, 1, PIXELS))


def test_maps_of_different_scales_cannot_be_added():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = BinaryConv2d(1, 1, 1, SignWeight(), Sign())

        def forward(self, x):
            return self.conv(x) + x

    with pytest.raises(LoweringError, match=r"^add \(add\) adds maps.*prepare\(model, grid\)$"):
        lower(Residual(), input=FeatureMap(4, 4, 1, PIXELS))


def test_a_model_that_looks_at_values_is_refused():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(LoweringError, match=r"^the model cannot be traced: .*depend on values$"):
        lower(Branching(), input=FeatureMap(4, 4, 1, PIXELS))


def test_inputs_have_a_scale_and_a_zero_point():
    model = randomise(sequential()[4:], 1)
    frame, quantisation = FeatureMap(4, 4, 8, Int(8)), Quantisation(0.0125, -3)
    network = lower(model, input=frame, quantisation=quantisation)
    frames = torch.randint(-128, 128, (500, 4, 4, 8), dtype=torch.int8)
    logits = model.double()((frames.double() + 3).mul(0.0125).movedim(-1, 1))
    assert torch.equal(golden(network, frames).labels, logits.argmax(dim=1))


class Centred(nn.Module):
    """Bits as −1 and 1."""

    def forward(self, x):
        return 2 * x - 1


@pytest.mark.parametrize("binary", [True, False])
def test_inputs_may_be_bits(binary):
    first = (
        [Centred(), BinaryConv2d(3, 8, 3, SignWeight(), Sign())]
        if binary
        else [IntegerConv2d(3, 8, 3, mean=(0.5,) * 3, deviation=(0.5,) * 3)]
    )
    last = BinaryLinear(8 * 16, 4, SignWeight(shared_scale=True), Sign())
    model = randomise(nn.Sequential(*first, nn.BatchNorm2d(8), nn.Flatten(), last), 2)
    network = lower(model, input=FeatureMap(6, 6, 3, Bit()))
    frames = torch.rand((500, 6, 6, 3), generator=torch.Generator().manual_seed(0)) < 0.5
    logits = model.double()(frames.double().movedim(-1, 1))
    assert torch.equal(golden(network, frames).labels, logits.argmax(dim=1))


# -- quantisers of one's own ----------------------------------------------------------------------


class CentredSign(WeightQuantiser):
    """The sign of each weight above its filter's median, without a scale."""

    def encode(self, weight):
        centred = weight - weight.median(dim=1, keepdim=True).values
        return sign_clipped(centred), weight.new_ones(len(weight))

    def levels(self, weight):
        code, _ = self.encode(weight)
        ones = (Fraction(1),) * len(weight)
        return WeightLevels(code > 0, ones, torch.zeros(len(weight), dtype=torch.int64))


class Above(ActivationQuantiser):
    """Levels 0 and 3 about a threshold of a half, the other way round."""

    def distance(self, x):
        return 0.5 - x

    def centre(self):
        return torch.tensor(1.0, dtype=torch.float64)

    def scale(self):
        return 1.5

    def levels(self):
        return ActivationLevels(Fraction(0), Fraction(3), (Fraction(1, 2),), (True,))


@pytest.mark.parametrize("padding", [0, 1])
def test_quantisers_of_ones_own_are_lowered(padding):
    model = nn.Sequential(
        BinaryConv2d(1, 6, 3, CentredSign(), InputThreshold()),
        nn.BatchNorm2d(6),
        BinaryConv2d(6, 8, 3, CentredSign(), Above(), padding=padding),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        BinaryLinear(8 * (4 + 2 * padding) ** 2, 3, CentredSign(), Sign()),
    )
    check(randomise(model, 3), FeatureMap(8, 8, 1, PIXELS), count=300)
