"""Lowering of perceptrons: the bits are those of the formulas, and those of PyTorch in float64."""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import gcd

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plain import (
    FRAME,
    FRAMES,
    PAIRS,
    PATTERNS,
    WEIGHTS,
    dyadic,
    layers_of,
    norms_of,
    perceptron,
    randomise_norms,
    ties_of,
    wild,
)
from xnorflow.ir import BinaryConv, FeatureMap, Gate, Provenance, UInt, xnf
from xnorflow.sw.compare import compare
from xnorflow.sw.data import values_of
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.mlp import MLP
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight


SQUARE = FeatureMap(2, 2, 1, UInt(8))


# -- bits and scores ------------------------------------------------------------------------------


def decimal(x):
    return Decimal(x.numerator) / Decimal(x.denominator)


def sums(layer, u):
    """Sums of products, in units of each filter's scale: (n, filters) of Fraction."""
    activation = layer.activation_quantiser.levels()
    weight = layer.weight_quantiser.levels(layer.weight)
    a = activation.low + activation.step * u.astype(object)
    centres = weight.centres.numpy().astype(object) * Fraction(1, 1 << weight.fraction)
    return a @ (2 * weight.bits.numpy().astype(object) - 1 + centres[:, np.newaxis]).T


def bits_by_formula(layer, norm, following, u):
    """The activations after a layer as its formulas say, to 300 digits: (n, filters) of bool."""
    levels = following.levels().of(len(layer.weight))
    scales_squared = layer.weight_quantiser.levels(layer.weight).scale_squared
    result = sums(layer, u)
    with localcontext(prec=300):
        for k in range(result.shape[1]):
            gain, bias, mean, variance = (
                decimal(Fraction(values[k].item()))
                for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            )
            deviation = (variance + decimal(Fraction(norm.eps))).sqrt()
            for n in range(len(u)):
                y = decimal(scales_squared[k]).sqrt() * decimal(result[n, k])
                distance = gain * (y - mean) / deviation + bias - decimal(levels.thresholds[k])
                # Nearer than this, they meet.
                result[n, k] = (
                    abs(distance) < Decimal("1e-200") or (distance > 0) != levels.inverted[k]
                )
    return result.astype(bool)


@pytest.mark.parametrize(("weight", "activation"), PAIRS)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_bits_follow_the_formulas(weight, activation, seed):
    """Exactly, whatever the parameters are: even where float64 would be wrong."""
    model = wild(weight, activation, seed)

    network = lower(model, input=FRAME)

    maps = golden(network, FRAMES, keep=network.maps).maps
    names = ["fc1_bits", "fc2_bits", "fc3_bits", "fc4_bits"]
    bits = [maps[name].flatten(1).numpy() for name in names]
    np.testing.assert_array_equal(bits[0], PATTERNS.numpy().astype(bool))
    layers = layers_of(model)
    for n, norm in enumerate(norms_of(model)):
        u, which = np.unique(bits[n], axis=0, return_inverse=True)
        following = layers[n + 1].activation_quantiser
        expected = bits_by_formula(layers[n], norm, following, u)[which]
        np.testing.assert_array_equal(bits[n + 1], expected)


@pytest.mark.parametrize(("weight", "activation"), PAIRS)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1))
def test_exact_ties_are_those_of_pytorch(weight, activation, seed):
    model = dyadic(weight, activation, seed)
    report = compare(model, lower(model, input=FRAME), FRAMES)
    assert report.differing == 0, str(report)


def test_ties_do_happen():
    """The test above is about them."""
    models = [dyadic(*pair, seed) for pair in PAIRS for seed in range(5)]
    assert sum(ties_of(model, FRAME, FRAMES) for model in models) > 1000


@pytest.mark.parametrize(("weight", "activation"), PAIRS)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_scores_are_logits_but_for_one_factor(weight, activation, seed):
    model = wild(weight, activation, seed)
    network = lower(model, input=FRAME)

    result = golden(network, FRAMES, keep=["fc4_bits"])

    # Times a positive rational number, exactly.
    exact = sums(model.fc4, result.maps["fc4_bits"].flatten(1).numpy())
    scores = result.scores.numpy().astype(object)
    n, k = np.unravel_index(np.argmax(exact != 0), exact.shape)
    if exact[n, k]:
        assert scores[n, k] / exact[n, k] > 0
        assert (scores * exact[n, k] == exact * scores[n, k]).all()
    else:
        assert not scores.any()
    # And in the largest unit.
    scores = next(node for node in network.nodes if node.name == "scores")
    terms = [scores.scale, scores.offset]
    terms += [] if scores.popcount_scale is None else [scores.popcount_scale]
    assert gcd(*(int(x) for term in terms for x in term)) == 1


def test_scores_between_the_steps_of_a_grid():
    """Levels without a grid have scores that are rounded, but not out of their order."""
    torch.manual_seed(1)
    model = perceptron("sign", "sign", hidden=(5, 4))
    model.fc3.activation_quantiser = AdaBinActivation().double()
    model.fc3.activation_quantiser.beta.data.fill_(0.1)
    report = compare(model, lower(model, input=FRAME), FRAMES)
    assert report.differing == 0, str(report)


@pytest.mark.parametrize("method", Method)
def test_equals_pytorch_on_real_images(mnist, method):
    torch.manual_seed(1)
    model = MLP(784, (48, 33), 10, method=method).train()
    with torch.no_grad():
        for batch in mnist.train_images[:2000].split(200):
            model(values_of(batch))
    randomise_norms(model)

    report = compare(model, lower(model, input=mnist.frame), mnist.test_images[:2000])

    assert report.differing == 0, str(report)
    assert [layer.compared for layer in report.layers] == [2000 * 784, 2000 * 48, 2000 * 33]


# -- the form of the network ----------------------------------------------------------------------


@pytest.mark.parametrize("weight", WEIGHTS)
def test_gate_and_popcount_as_cheap_as_possible(weight):
    """P goes along only with adaptive weights, and {0, 1} weights take the and gate."""
    network = lower(wild(weight, "adabin", 3), input=FRAME)
    convolutions = [node for node in network.nodes if isinstance(node, BinaryConv)]
    assert {node.popcount for node in convolutions} == {weight == "adabin"}
    assert {node.gate for node in convolutions} == {Gate.AND if weight == "half" else Gate.XNOR}


def test_centred_adaptive_weights_are_signs():
    """Where every ρ rounds to 0, nothing of it is left in the network."""
    torch.manual_seed(0)
    model = perceptron("sign", "sign", hidden=(4, 6, 4))
    with torch.no_grad():
        for layer in layers_of(model):
            rows = np.resize([1.0, -1.0], layer.weight.shape)
            layer.weight.copy_(torch.tensor(np.random.default_rng(0).permuted(rows, axis=1)))
    signs = lower(model, input=FRAME)
    for n, layer in enumerate(layers_of(model)):
        layer.weight_quantiser = AdaBinWeight(shared_scale=n == 3)
    assert xnf.dumps(lower(model, input=FRAME)) == xnf.dumps(signs)


def test_shapes_and_names():
    model = MLP(24, (8, 6), 5)
    provenance = Provenance(model="MLP", seed=3)
    network = lower(
        model,
        input=FeatureMap(4, 3, 2, UInt(8)),
        name="small",
        labels=tuple("vwxyz"),
        provenance=provenance,
    )
    assert (network.name, network.labels) == ("small", ("v", "w", "x", "y", "z"))
    assert network.provenance == provenance
    assert {name: x.shape for name, x in network.maps.items()} == {
        "input": (4, 3, 2),
        "fc1_bits": (4, 3, 2),
        "fc1": (1, 1, 8),
        "fc2_bits": (1, 1, 8),
        "fc2": (1, 1, 6),
        "fc3_bits": (1, 1, 6),
        "fc3": (1, 1, 5),
        "scores": (1, 1, 5),
        "label": (1, 1, 1),
    }


def test_defaults():
    network = lower(MLP(4, (), 3), input=SQUARE)
    assert (network.name, network.labels) == ("network", ("0", "1", "2"))
    assert network.provenance == Provenance()
    assert [node.name for node in network.nodes] == ["fc1_bits", "fc1", "scores", "label"]


def test_sign_scores_are_half_the_dot_product():
    """Of an even number of inputs: M − N/2."""
    network = lower(MLP(4, (4,), 3), input=SQUARE)
    scores = next(node for node in network.nodes if node.name == "scores")
    assert scores.scale.tolist() == [1, 1, 1]
    assert scores.offset.tolist() == [-2, -2, -2]


def test_model_stays_as_it_is():
    model = MLP(4, (4,), 3, method=Method.SIMAN).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = lower(model, input=SQUARE)
    compare(model, network, torch.zeros((1, 2, 2, 1), dtype=torch.uint8))
    assert model.training
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_is_deterministic():
    model = wild("adabin", "rsign", 1)
    first, second = (xnf.dumps(lower(model, input=FRAME)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("beta", "alpha", "passing"),
    [
        (7, 1, range(7, 256)), (6.5, 1, range(7, 256)), (-3, 1, range(256)), (300, 1, range(0)),
        (7, -1, range(8)), (6.5, -1, range(7)), (-3, -1, range(0)), (300, -1, range(256)),
    ],
)  # fmt: skip
def test_pixel_threshold(beta, alpha, passing):
    """Any binariser of pixels that has one threshold, in either direction."""
    model = MLP(1, (), 2).double()
    model.fc1.activation_quantiser = quantiser = AdaBinActivation(2).double()
    quantiser.beta.data.fill_(beta)
    quantiser.alpha.data.fill_(alpha)
    frames = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)

    network = lower(model, input=FeatureMap(1, 1, 1, UInt(8)))

    bits = golden(network, frames, keep=["fc1_bits"]).maps["fc1_bits"].flatten()
    assert bits.nonzero().flatten().tolist() == list(passing)
    assert compare(model, network, frames).differing == 0
