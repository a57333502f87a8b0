import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from xnorflow.errors import NetworkError
from xnorflow.ir import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    GlobalSum,
    Int,
    IntegerConv,
    Network,
)
from xnorflow.sw.golden import golden
from xnorflow.sw.lowering.dynamic import hyper_nodes, mean_nodes
from xnorflow.sw.nn.dynamic import FrameMean, HyperConfig, HyperFunction, clip_shifts
from xnorflow.sw.nn.frame import DyPReLU, DySign
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.grid_layers import GridDyPReLU
from xnorflow.sw.nn.prelu import RPReLU
from xnorflow.sw.nn.sign import RSign


def random_grid(rng):
    return Grid(int(rng.integers(6, 17)), int(rng.integers(1, 6)), int(rng.integers(2, 11)))


def randomised(module, scale=1.0):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, scale)
    return module.double()


def stream(rng, grid, shape):
    """Values that use a grid's range: integers, and what they stand for."""
    spread = 1 << int(rng.integers(1, grid.bits - 1))
    codes = rng.integers(-spread, spread, shape)
    return codes, torch.tensor(codes).double().movedim(-1, 1) * 2.0**-grid.fraction


def executed(nodes, x, codes, last):
    """Values of the node ``last``, of a network in which ``nodes`` are fed with ``codes``."""
    shape = next(node for node in nodes if node.name == last)
    frame = FeatureMap(*codes.shape[1:], Int(24))
    one = np.ones(frame.channels, np.int64)
    entry = Affine("x", INPUT, one, 0 * one, rounding=x)
    tail = []
    if isinstance(shape, DynamicThreshold):
        weights = np.ones((2, *frame.shape), bool)
        ones = np.ones(2, np.int64)
        tail = [BinaryConv("fc", last, weights), Affine("scores", "fc", ones, ones)]
    elif isinstance(shape, DynamicTwoSlope):
        weights = np.ones((2, 1, 1, frame.channels), np.int64)
        tail = [GlobalSum("total", last), IntegerConv("scores", "total", weights)]
    nodes = (entry, *nodes, *tail)
    scores = tail[-1].name if tail else last
    labels = 2 if tail else len(nodes[-1].scale)
    network = Network(
        "net", frame, (*nodes, ArgMax("label", scores)), tuple(map(str, range(labels)))
    )
    return golden(network, codes, keep=[last]).maps[last]


# -- hyper functions ------------------------------------------------------------------------------


def test_a_hyper_function_is_two_layers_on_means():
    torch.manual_seed(0)
    hyper = randomised(HyperFunction(8, 5, HyperConfig(ratio=2)))
    x = torch.randn(3, 8, 4, 6, dtype=torch.float64)
    g = x.mean(dim=(2, 3))
    expected = hyper.excite(torch.relu(hyper.squeeze(g)))
    torch.testing.assert_close(hyper(x, None)[:, :, 0, 0], expected)


@pytest.mark.parametrize(("channels", "hidden"), [(3, 4), (64, 4), (128, 8), (512, 32)])
def test_hidden_units(channels, hidden):
    assert HyperFunction(channels, 2).squeeze.out_features == hidden


def test_a_fine_grid_is_nearly_none():
    torch.manual_seed(1)
    hyper = randomised(HyperFunction(8, 5), 0.3)
    x = (torch.randn(9, 8, 5, 5, dtype=torch.float64) * 2**12).round() / 2**12
    error = (hyper(x, Grid(20, 12)) - hyper(x, None)).abs()
    assert error.max() < 0.02


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20))
def test_integers_are_the_values_on_the_grid(seed):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    grid, channels, outputs = random_grid(rng), int(rng.integers(1, 6)), int(rng.integers(2, 7))
    hyper = HyperFunction(channels, outputs, HyperConfig(bits=int(rng.integers(4, 13))))
    randomised(hyper, float(rng.choice([0.1, 1, 4])))
    shape = *(int(n) for n in rng.integers(1, 6, 2)), channels
    codes, x = stream(rng, grid, (4, *shape))
    static = rng.integers(-5, 6, outputs)
    nodes = hyper_nodes("p", hyper, "x", FeatureMap(*shape, Int(grid.bits)), static, grid)
    found = executed(nodes, grid.rounding(0), codes, "p").flatten(1)
    expected = (hyper(x, grid)[:, :, 0, 0] * 2**grid.fraction) + torch.tensor(static)
    type_ = nodes[-1].rounding.type
    assert found.tolist() == expected.clamp(type_.low, type_.high).tolist()


@pytest.mark.parametrize("grid", [None, Grid()])
def test_the_first_gradient_is_that_of_the_last_layer(grid):
    """Or else training would never leave the static network."""
    hyper = HyperFunction(4, 4)
    hyper(torch.randn(6, 4, 3, 3), grid).sum().backward()
    assert bool(hyper.excite.weight.grad.any())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ratio": 0}, "the ratio of a hyper function must be at least 1, not 0"),
        ({"bits": 13}, "the bits of a hyper function's weights must be from 4 to 12, not 13"),
    ],
)
def test_refuses_a_hyper_function(options, text):
    with pytest.raises(NetworkError, match=f"^{text}$"):
        HyperConfig(**options)


# -- DySign, DyPReLU and means --------------------------------------------------------------------


def test_at_first_it_is_static():
    torch.manual_seed(3)
    x = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    numbers = HyperFunction(4, 12).double()(x)
    static = RPReLU(4).double()
    assert torch.equal(DySign(4)(x, numbers), x)
    assert torch.equal(DyPReLU(4).double()(x, numbers), static(x))
    assert torch.equal(DyPReLU(4, hyper=HyperConfig()).double()(x), static(x))
    assert static.state_dict().keys() == DyPReLU(4).state_dict().keys()


def test_dyprelu_is_rprelu_with_more_shifts():
    torch.manual_seed(5)
    x, numbers = (torch.randn(3, n, *s, dtype=torch.float64) for n, s in ((4, (2, 5)), (9, (1, 1))))
    slopes = randomised(DyPReLU(4))
    before, after = numbers[:, 1:5], numbers[:, 5:]
    t = x + slopes.before[:, None, None] + before
    expected = functional.prelu(t, slopes.weight) + slopes.after[:, None, None] + after
    torch.testing.assert_close(slopes(x, numbers), expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20))
def test_dysign_lowers(seed):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    grid, channels = random_grid(rng), int(rng.integers(1, 6))
    hyper, quantiser = randomised(HyperFunction(channels, channels)), randomised(RSign(channels))
    shape = *(int(n) for n in rng.integers(1, 6, 2)), channels
    codes, x = stream(rng, grid, (4, *shape))
    static = (-quantiser.bias.detach() * 2**grid.fraction).ceil().numpy().astype(np.int64)
    nodes = hyper_nodes("p", hyper, "x", FeatureMap(*shape, Int(grid.bits)), static, grid)
    nodes.append(DynamicThreshold("bits", "x", "p"))
    found = executed(nodes, grid.rounding(0), codes, "bits")
    compared = DySign(channels)(x, clip_shifts(hyper(x, grid), grid))
    assert torch.equal(found, quantiser.distance(compared.movedim(1, -1)) >= 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20))
def test_dyprelu_lowers(seed):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    grid, channels = random_grid(rng), int(rng.integers(1, 6))
    slopes = randomised(GridDyPReLU(channels), float(rng.choice([0.5, 4])))
    hyper = randomised(HyperFunction(channels, 2 * channels), float(rng.choice([0.5, 4])))
    slopes.grid = grid
    shape = *(int(n) for n in rng.integers(1, 6, 2)), channels
    codes, x = stream(rng, grid, (4, *shape))
    static = np.zeros(2 * channels, np.int64)
    nodes = hyper_nodes("p", hyper, "x", FeatureMap(*shape, Int(grid.bits)), static, grid)
    positive, negative = (code.detach().numpy().astype(np.int64) for code in slopes.codes())
    rounding = grid.rounding(grid.slope_fraction)
    nodes.append(DynamicTwoSlope("act", "x", "p", positive, negative, rounding))
    found = executed(nodes, grid.rounding(0), codes, "act")
    y = slopes(x, hyper(x, grid)).detach() * 2**grid.fraction
    assert torch.equal(found.double(), y.movedim(1, -1))


def test_dyprelu_must_be_given_numbers():
    with pytest.raises(ValueError, match=r"^a DyPReLU without .* its own must be given numbers$"):
        DyPReLU(2)(torch.zeros(1, 2, 1, 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20))
def test_a_frames_mean_lowers(seed):
    """Frames of few different values, so that many of them are their mean."""
    rng = np.random.default_rng(seed)
    grid, channels = random_grid(rng), int(rng.integers(1, 6))
    shape = *(int(n) for n in rng.integers(1, 6, 2)), channels
    codes = rng.integers(-2, 3, (6, *shape))
    x = torch.tensor(codes).double().movedim(-1, 1) * 2.0**-grid.fraction
    nodes = mean_nodes("p", "x", FeatureMap(*shape, Int(grid.bits)), grid)
    nodes.append(DynamicThreshold("bits", "x", "p", scale=codes[0].size))
    found = executed(nodes, grid.rounding(0), codes, "bits")
    exact = codes * codes[0].size >= codes.sum(axis=(1, 2, 3), keepdims=True)
    assert np.array_equal(found.numpy(), exact)
    assert torch.equal(found, FrameMean()(x).movedim(1, -1) >= 0)


def test_a_standardised_frame():
    torch.manual_seed(4)
    x = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(FrameMean()(x), functional.group_norm(x, 1), rtol=1e-12, atol=1e-12)
