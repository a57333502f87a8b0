"""Modules of one's own on a fixed-point grid, and their networks."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from xnorflow.errors import LoweringError
from xnorflow.ir import ArgMax, FeatureMap, MaxPool, Network, UInt
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lowering.grid import grid_nodes
from xnorflow.sw.lowering.grid_values import observe_grid
from xnorflow.sw.models.blocks import Family
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.dynamic import FrameMean
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.prelu import RPReLU
from xnorflow.sw.nn.shortcuts import PadChannels, RepeatChannels, Subsample
from xnorflow.sw.nn.sign import SignWeight


def frames(shape, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def network_of(prepared):
    """Network of a prepared model in float64."""
    nodes, _ = grid_nodes(copy.deepcopy(prepared).double())
    labels = tuple(map(str, range(nodes[-1].scale.size)))
    label = ArgMax("label", "scores")
    return Network("n", prepared.meta["frame"], (*nodes, label), labels)


class Functional(nn.Module):
    """Functions and operators, two batch norms in a row, constants."""

    def __init__(self, channels, binary, pooled):
        super().__init__()
        self.pooled = pooled
        self.conv1 = binary(channels, channels, 3, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.gain = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x):
        y = self.bn2(self.bn1(self.conv1(x))) * self.gain * 0.5
        x = functional.relu(x + y + self.shift)
        x = functional.avg_pool2d(x, 2) if self.pooled else x
        return x / 2 - 0.25


class PreActivation(nn.Module):
    """A batch norm and RPReLU in front, a sum behind which nothing comes."""

    def __init__(self, channels, binary, _):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.act = RPReLU(channels)
        self.conv = binary(channels, channels, 3, 1)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm2(self.conv(self.act(self.norm(x)))) + x


class Branches(nn.Module):
    """Two branches, joined; a convolution of integers with a bias and padding."""

    def __init__(self, channels, binary, _):
        super().__init__()
        self.left = nn.Sequential(binary(channels, channels, 1, 1), nn.BatchNorm2d(channels))
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.right = RPReLU(channels)
        self.squash = nn.Hardtanh()
        self.fuse = nn.Conv2d(2 * channels, channels, 1)
        self.act = nn.PReLU()

    def forward(self, x):
        right = self.squash(self.mix(self.right(x)))
        left = self.right(self.left(x))
        return self.act(self.fuse(torch.cat([left, right], dim=1)) + left)


class Own(nn.Module):
    def __init__(self, rng):
        super().__init__()
        method = list(ResidualMethod)[rng.integers(4)]
        channels = int(rng.integers(1, 5))
        family = Family(method)
        border = list(Border)[rng.integers(2)]

        def binary(inputs, filters, kernel, stride):
            conv = family.conv(inputs, filters, kernel=kernel, stride=stride)
            conv.border = border
            return conv

        if rng.random() < 0.5:
            first = nn.Conv2d(3, channels, 3, padding=1, bias=bool(rng.integers(2)))
        else:
            first = IntegerConv2d(
                3, channels, 3, mean=(0.5, 0.4, 0.45), deviation=(0.25, 0.2, 0.3), padding=1
            )
        blocks = [Functional, PreActivation, Branches]
        self.features = nn.Sequential(
            first,
            *([nn.BatchNorm2d(channels)] * int(rng.integers(2))),
            *(
                blocks[kind](channels, binary, n < 2)
                for n, kind in enumerate(rng.integers(0, 3, rng.integers(1, 4)))
            ),
        )
        self.flat = bool(rng.integers(2))
        self.head = nn.ModuleList([nn.BatchNorm1d(channels)] * int(rng.integers(2)))
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(channels, 3, bias=bool(rng.integers(2)))

    def forward(self, x):
        x = self.features(x)
        x = (
            x.mean((2, 3))
            if self.flat
            else functional.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)
        )
        for layer in self.head:
            x = layer(x)
        return self.fc(self.dropout(x))


def scramble(model, seed):
    """Parameters far from their first values; batch norms see what a network does to pixels."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "quantiser" not in name and (parameter.dim() == 1 or name.endswith("gain")):
            parameter.data.normal_()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.3, 3)


def check_exact(model, grid, frame, count=10, seed=0):
    """Logits in float64 are the network's scores times one factor."""
    prepared = prepare(model.double(), grid, frame)
    assert prepared.state_dict().keys() == model.state_dict().keys()
    prepared.load_state_dict(model.state_dict())
    network = network_of(prepared)
    x = frames(frame.shape, count, seed)
    with torch.no_grad():
        logits = prepared.eval()(x.double().movedim(-1, 1))
    scores = golden(network, x).scores.double()
    if not bool(scores.any()):
        assert not bool(logits.any())
        return prepared, network
    check_values(prepared, network, x)
    factor = logits.abs().max() / scores.abs().max()
    assert torch.equal((logits / factor).round(), scores)
    torch.testing.assert_close(logits, scores * factor, rtol=1e-12, atol=0)
    return prepared, network


def check_values(prepared, network, x):
    """All values of streams, and all bits."""
    values, _ = observe_grid(prepared, x.double().movedim(-1, 1))
    result = golden(network, x, keep=values.keys())
    assert len(values) > 1
    for name, value in values.items():
        value = value.movedim(1, -1)
        found = result.maps[name].view(value.shape)
        if found.dtype == torch.bool:
            assert torch.equal(found, value >= 0), name
        else:
            unit = 2.0 ** network.maps[name].type.fraction
            assert torch.equal(found.double(), value * unit), name


@settings(max_examples=40)
@given(seed=st.integers(0, 2**20))
def test_own_modules_are_exact(seed):
    rng = np.random.default_rng(seed)
    model = Own(rng)
    scramble(model, seed)
    height, width = (4 * int(n) for n in rng.integers(1, 4, 2))
    frame = FeatureMap(height, width, 3, UInt(8))
    grid = Grid(int(rng.integers(8, 17)), int(rng.integers(2, 9)), int(rng.integers(0, 11)))
    check_exact(model, grid, frame, seed=seed)


def small(*layers, channels=2):
    """A first layer, ``layers``, and a head."""
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)]
    if isinstance(layers[-1], nn.Flatten):
        del head[:2]
    return nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), *layers, *head).double()


def binary(method=ResidualMethod.ADABIN, channels=2):
    return Family(method).conv(channels, channels)


class Sigmoid(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)


FRAME = FeatureMap(8, 4, 3, UInt(8))


def test_the_bits_of_pools_are_pooled():
    model = small(
        nn.BatchNorm2d(2), nn.MaxPool2d(2), binary(ResidualMethod.SIMAN), nn.BatchNorm2d(2)
    )
    _, network = check_exact(model, Grid(), FRAME)
    (pool,) = (node for node in network.nodes if isinstance(node, MaxPool))
    assert pool.inverted.tolist() == [False, True]


@pytest.mark.parametrize("method", [ResidualMethod.ADABIN, ResidualMethod.SIMAN])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.PReLU])
def test_biases_of_binary_convolutions_are_rounded_with_their_sums(method, norm):
    torch.manual_seed(0)
    family = Family(method)
    weights, bits = family.weights(2), family.signs(2)
    conv = BinaryConv2d(2, 2, 3, weights, bits, padding=1, bias=True)
    model = small(conv, norm(2)).eval()
    nn.init.normal_(conv.bias, std=3.0)
    prepared, _ = check_exact(model, Grid(), FRAME)
    pixels = frames(FRAME.shape, 10).double().movedim(-1, 1)
    with torch.no_grad():
        torch.testing.assert_close(prepared(pixels), model(pixels), rtol=0.01, atol=0.02)


def test_all_values_can_be_scores():
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3, stride=2),
        RPReLU(2),
        nn.Flatten(),
        nn.BatchNorm1d(6),
        nn.Linear(6, 4),
    )
    scramble(model, 0)
    check_exact(model, Grid(), FRAME)


class Joined(nn.Module):
    """Two layers on 2 channels, and ``join(x, conv, act)``, which says how they go together."""

    def __init__(self, join):
        super().__init__()
        self.join = join
        self.conv = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2))
        self.act = RPReLU(2)
        self.gain = nn.Parameter(torch.ones(1, 2, 1, 1))

    def forward(self, x):
        return self.join(x, self)


def reads_a_sum_twice(x, m):
    y = m.conv(x)
    return m.act(y) + y


def reads_a_total_twice(x, m):
    y = m.conv(x) + x
    return m.act(y) + y


def doubles_a_sum(x, m):
    y = m.conv(x)
    return m.act(y + y)


def doubles_a_total(x, m):
    y = m.conv(x) + x
    return m.act(y + y)


def clips_a_sum_that_is_read_twice(x, m):
    y = m.conv(x)
    return functional.hardtanh(y) + y


JOINS = [
    clips_a_sum_that_is_read_twice,
    reads_a_sum_twice,
    reads_a_total_twice,
    doubles_a_sum,
    doubles_a_total,
    lambda x, m: m.conv(m.act(m.conv(x))),
    lambda x, m: m.act(m.conv(x)) + m.act(m.act(x)),
    lambda x, m: torch.relu(m.act(m.conv(x)) * m.gain * 0.5 - 0.3) / 2 + m.gain,
    lambda x, m: m.conv[1](m.act(m.conv(x))),
    lambda x, m: functional.hardtanh(m.act(m.conv(x))) + x,
    lambda x, m: functional.avg_pool2d(m.act(m.conv(x)), 2),
    lambda x, m: functional.max_pool2d(m.act(m.conv(x)), 3, 2, 1),
]
WIDE = [
    [RPReLU(2), PadChannels(1, 2)],
    [RPReLU(2), RepeatChannels(), Subsample(2)],
    [Joined(lambda x, m: torch.cat([m.conv(x), m.act(x)], 1))],
    [Joined(lambda x, m: torch.cat([functional.hardtanh(m.conv(x)), m.act(x)], 1))],
    [RPReLU(2), nn.Flatten()],
    [Joined(lambda x, m: torch.cat([m.act(x), m.conv(x), m.act(m.conv(x))], dim=1))],
]
WIDTHS = 5, 4, 4, 4, 64, 6


@pytest.mark.parametrize(
    ("layers", "channels"),
    [*(([Joined(join)], 2) for join in JOINS), *zip(WIDE, WIDTHS, strict=True)],
)
def test_a_fine_grid_is_nearly_none(layers, channels):
    """Every shift is added where the model has it: the weights are those of 8 bits anyway."""
    model = small(nn.BatchNorm2d(2), *layers, channels=channels)
    scramble(model, channels)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            code = torch.randint(-127, 128, module.weight.shape)
            code[:, 0, 0, 0] = 127
            module.weight.data = code.double() / 512
    model[1].running_var.fill_(1e5)
    prepared, _ = check_exact(model.eval(), Grid(16, 9, 12, 11), FRAME)
    x = frames(FRAME.shape, 20).double().movedim(-1, 1)
    with torch.no_grad():
        expected = model(x)
        error = float((prepared(x) - expected).abs().max())
    assert error < 5e-3 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([nn.Sigmoid()], r"1 \(Sigmoid\) cannot be put on a grid where it gets sums of a layer: "),
        ([nn.ReLU(), nn.GELU()], r"2 \(GELU\) .* gets a stream: accepted there are convolutions"),
        ([nn.Hardtanh(0, 6)], r"1 \(Hardtanh\) cannot be put on a grid"),
        (
            [nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")],
            r"1 \(Conv2d\) must be padded with zeros",
        ),
        ([nn.AvgPool2d(3)], r"1 \(AvgPool2d\) must average windows side by side, of 2, 4, 8"),
        ([nn.MaxPool2d(2, dilation=2)], r"1 \(MaxPool2d\) must have no dilation"),
        ([nn.Upsample(scale_factor=1.5)], r"1 \(Upsample\) must repeat pixels"),
        ([nn.AdaptiveAvgPool2d(1), nn.ReLU()], r"2 cannot be put on a grid where it gets a vector"),
        (
            [nn.Flatten(), nn.Linear(64, 2), nn.Unflatten(1, (2, 1, 1))],
            r"2 \(Linear\) must be the last layer",
        ),
        (
            [BinaryConv2d(2, 2, 3, SignWeight())],
            r"1 \(BinaryConv2d\) must have its own activation quantiser on a grid",
        ),
        ([FrameMean(), binary()], r"2 \(BinaryConv2d\) must binarise with Sign behind a FrameMean"),
    ],
)
def test_refuses_what_has_no_place_on_a_grid(layers, text):
    with pytest.raises(LoweringError, match=rf"^{text}"):
        prepare(small(*layers), Grid(), FRAME)


def test_refuses_a_model_without_a_dense_layer():
    with pytest.raises(LoweringError, match=r"^a model on a grid must end with a Linear .* sums"):
        prepare(nn.Sequential(nn.Conv2d(3, 2, 1)), Grid(), FRAME)


def test_refuses_batch_norms_without_statistics():
    model = small(nn.BatchNorm2d(2, track_running_stats=False))
    with pytest.raises(LoweringError, match=r"^1 .BatchNorm2d. has no running statistics"):
        prepare(model, Grid(), FRAME)
