import re
from decimal import Decimal, localcontext
from fractions import Fraction
from math import gcd

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xnorflow.errors import LoweringError
from xnorflow.ir import BinaryConv, Gate, Provenance, xnf
from xnorflow.sw.compare import compare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.chain import Chain, ChainConfig, Method
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


WEIGHTS = {
    "sign": lambda _filters, shared: SignWeight(shared_scale=shared),
    "adabin": lambda _filters, shared: AdaBinWeight(fraction=3, shared_scale=shared),
    "half": lambda filters, shared: SiManWeight(filters, SiManForm.HALF, shared_scale=shared),
    "bipolar": lambda filters, shared: SiManWeight(filters, SiManForm.BIPOLAR, shared_scale=shared),
}
ACTIVATIONS = {
    "sign": lambda _channels, _last: Sign(),
    "rsign": lambda channels, _last: RSign(channels),
    "polarised": lambda channels, _last: RSign(channels, polarised=True),
    "adabin": lambda _channels, last: AdaBinActivation(2 if last else None),
}
PAIRS = [(weight, activation) for weight in WEIGHTS for activation in ACTIVATIONS]

# Six pixels: all patterns of bits can be tried.
SHAPE = 2, 3, 1
PATTERNS = torch.tensor([[n >> k & 1 for k in range(6)] for n in range(64)])
FRAMES = (255 * PATTERNS).to(torch.uint8).reshape(64, *SHAPE)


def build(weight, activation, hidden=(5, 4, 4), classes=3):
    """A model in float64 with any pair of quantisers, in evaluation mode."""
    model = Chain(ChainConfig(hidden, Method.SIGN, SHAPE, classes))
    for n, layer in enumerate(model.layers):
        last = n == len(hidden)
        filters, taps = layer.weight.shape
        layer.weight_quantiser = WEIGHTS[weight](filters, last)
        if n > 0:
            layer.activation_quantiser = ACTIVATIONS[activation](taps, last)
    return model.double().eval()


@torch.no_grad()
def fill(model, rng, draw, weights, positive):
    """Set all parameters: ``draw(shape)`` and so on give their values."""
    for name, parameter in [*model.named_parameters(), *model.named_buffers()]:
        shape = tuple(parameter.shape)
        if name.endswith((".level", "_tracked", ".polarity")):
            continue
        if name.endswith((".weight_quantiser.log_scale", "log_temperature")):
            values = np.log(positive(shape))
        elif name.endswith("running_var"):
            values = positive(shape)
        elif name.startswith("layers.") and name.endswith(".weight"):
            values = weights(shape)
        elif name.endswith("alpha"):
            values = positive(shape) * rng.choice([-1, 1])
        else:
            values = draw(shape)
        parameter.copy_(torch.as_tensor(np.asarray(values)))


def wild(weight, activation, seed):
    """A model with parameters of all sizes and signs, zero among them."""
    rng = np.random.default_rng(seed)

    def positive(shape):
        return 10.0 ** rng.choice([-30.0, -3.0, 0.0, 0.0, 0.3, 5.0], shape)

    def draw(shape):
        values = rng.normal(size=shape) * 10.0 ** rng.choice([-30.0, -1.0, 0.0, 0.0, 1.0], shape)
        return np.where(rng.random(shape) < 0.2, 0.0, values)

    def weights(shape):
        # Some filters are all 0, so that their scale is, but not the layer's.
        values = rng.normal(size=shape)
        values[1:] *= rng.random((shape[0] - 1, 1)) < 0.9
        return values

    model = build(weight, activation)
    fill(model, rng, draw, weights, positive)
    return model


def dyadic(weight, activation, seed):
    """A model whose float64 arithmetic is exact, and in which values often meet a threshold."""
    rng = np.random.default_rng(seed)

    def draw(shape):
        return rng.integers(-6, 7, shape) / 2.0

    def weights(shape):
        if weight in ("half", "bipolar"):
            return rng.normal(size=shape)
        # Half of a row is 1 above its mean, and half 1 below: the deviation is 1.
        rows = rng.permuted(np.resize([1.0, -1.0], shape), axis=1)
        return rows if weight == "sign" else rows + rng.integers(-2, 3, (shape[0], 1)) / 4

    model = build(weight, activation, hidden=(4, 6, 4))
    for norm in model.norms:
        norm.eps = 0.0
    fill(model, rng, draw, weights, lambda shape: 4.0 ** rng.integers(-1, 2, shape))
    for layer in model.layers:
        if isinstance(layer.weight_quantiser, SiManWeight):
            layer.weight_quantiser.log_scale.data.zero_()
    return model


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

    network = lower(model)

    maps = golden(network, FRAMES, keep=network.maps).maps
    names = ["input_bits", "act1", "act2", "act3"]
    bits = [maps[name].flatten(1).numpy() for name in names]
    np.testing.assert_array_equal(bits[0], PATTERNS.numpy().astype(bool))
    for n, norm in enumerate(model.norms):
        u, which = np.unique(bits[n], axis=0, return_inverse=True)
        following = model.layers[n + 1].activation_quantiser
        expected = bits_by_formula(model.layers[n], norm, following, u)[which]
        np.testing.assert_array_equal(bits[n + 1], expected)


@pytest.mark.parametrize(("weight", "activation"), PAIRS)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1))
def test_exact_ties_are_those_of_pytorch(weight, activation, seed):
    model = dyadic(weight, activation, seed)
    report = compare(model, lower(model), FRAMES)
    assert report.differing == 0, str(report)


def test_ties_do_happen():
    """The test above is about them."""
    ties = 0
    for weight, activation in PAIRS:
        for seed in range(5):
            model = dyadic(weight, activation, seed)
            *inputs, _ = model.trace(FRAMES)
            for layer, x in zip(model.layers, inputs, strict=True):
                ties += int((layer.activation_quantiser.distance(x) == 0).sum())
    assert ties > 1000


@pytest.mark.parametrize(("weight", "activation"), PAIRS)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_scores_are_logits_but_for_one_factor(weight, activation, seed):
    model = wild(weight, activation, seed)
    network = lower(model)

    result = golden(network, FRAMES, keep=["act3"])

    # Times a positive rational number, exactly.
    exact = sums(model.layers[-1], result.maps["act3"].flatten(1).numpy())
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


@pytest.mark.parametrize("method", Method)
def test_equals_pytorch_on_real_images(mnist, method):
    torch.manual_seed(1)
    model = Chain(ChainConfig((48, 33), method)).train()
    with torch.no_grad():
        for batch in mnist.train_images[:2000].split(200):
            model(batch)
        for norm in model.norms:
            norm.weight.normal_()
            norm.bias.normal_()

    report = compare(model, lower(model), mnist.test_images[:2000])

    assert report.differing == 0, str(report)
    assert [layer.compared for layer in report.layers] == [2000 * 784, 2000 * 48, 2000 * 33]


# -- the form of the network ----------------------------------------------------------------------


@pytest.mark.parametrize("weight", WEIGHTS)
def test_gate_and_popcount_as_cheap_as_possible(weight):
    """P goes along only with adaptive weights, and {0, 1} weights take the and gate."""
    network = lower(wild(weight, "adabin", 3))
    convolutions = [node for node in network.nodes if isinstance(node, BinaryConv)]
    assert {node.popcount for node in convolutions} == {weight == "adabin"}
    assert {node.gate for node in convolutions} == {Gate.AND if weight == "half" else Gate.XNOR}


def test_centred_adaptive_weights_are_signs():
    """Where every ρ rounds to 0, nothing of it is left in the network."""
    torch.manual_seed(0)
    model = build("sign", "sign", hidden=(4, 6, 4))
    with torch.no_grad():
        for layer in model.layers:
            rows = np.resize([1.0, -1.0], layer.weight.shape)
            layer.weight.copy_(torch.tensor(np.random.default_rng(0).permuted(rows, axis=1)))
    signs = lower(model)
    for n, layer in enumerate(model.layers):
        layer.weight_quantiser = AdaBinWeight(shared_scale=n == 3)
    assert xnf.dumps(lower(model)) == xnf.dumps(signs)


def test_shapes_and_names():
    model = Chain(ChainConfig((8, 6), Method.SIGN, (4, 3, 2), 5))
    provenance = Provenance(model="MLP", seed=3)
    network = lower(model, name="small", labels="vwxyz", provenance=provenance)
    assert (network.name, network.labels) == ("small", ("v", "w", "x", "y", "z"))
    assert network.provenance == provenance
    assert {name: x.shape for name, x in network.maps.items()} == {
        "input": (4, 3, 2),
        "input_bits": (4, 3, 2),
        "fc1": (1, 1, 8),
        "act1": (1, 1, 8),
        "fc2": (1, 1, 6),
        "act2": (1, 1, 6),
        "fc3": (1, 1, 5),
        "scores": (1, 1, 5),
        "label": (1, 1, 1),
    }


def test_defaults():
    network = lower(Chain(ChainConfig((), Method.SIGN, (2, 2, 1), 3)))
    assert (network.name, network.labels) == ("network", ("0", "1", "2"))
    assert network.provenance == Provenance()
    assert [node.name for node in network.nodes] == ["input_bits", "fc1", "scores", "label"]


def test_sign_scores_are_half_the_dot_product():
    """Of an even number of inputs: M − N/2."""
    model = Chain(ChainConfig((4,), Method.SIGN, (2, 2, 1), 3))
    scores = next(node for node in lower(model).nodes if node.name == "scores")
    assert scores.scale.tolist() == [1, 1, 1]
    assert scores.offset.tolist() == [-2, -2, -2]


def test_model_stays_as_it_is():
    model = Chain(ChainConfig((4,), Method.SIMAN, (2, 2, 1), 3)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = lower(model)
    compare(model, network, torch.zeros((1, 2, 2, 1), dtype=torch.uint8))
    assert model.training
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_is_deterministic():
    model = wild("adabin", "rsign", 1)
    assert xnf.dumps(lower(model)) == xnf.dumps(lower(model))


@pytest.mark.parametrize(
    ("beta", "alpha", "passing"),
    [
        (7, 1, range(7, 256)), (6.5, 1, range(7, 256)), (-3, 1, range(256)), (300, 1, range(0)),
        (7, -1, range(8)), (6.5, -1, range(7)), (-3, -1, range(0)), (300, -1, range(256)),
    ],
)  # fmt: skip
def test_pixel_threshold(beta, alpha, passing):
    """Any binariser of pixels that has one threshold, in either direction."""
    model = Chain(ChainConfig((), Method.SIGN, (1, 1, 1), 2)).double()
    model.layers[0].activation_quantiser = quantiser = AdaBinActivation(2).double()
    quantiser.beta.data.fill_(beta)
    quantiser.alpha.data.fill_(alpha)
    frames = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)

    network = lower(model)

    bits = golden(network, frames, keep=["input_bits"]).maps["input_bits"].flatten()
    assert bits.nonzero().flatten().tolist() == list(passing)
    assert compare(model, network, frames).differing == 0


# -- what cannot be lowered -----------------------------------------------------------------------


def _set(path, value):
    def change(model):
        *parents, last = path.split(".")
        owner = model
        for parent in parents:
            owner = getattr(owner, parent)
        if isinstance(value, float):
            with torch.no_grad():
                getattr(owner, last).flatten()[0] = value
        elif last.isdigit():
            owner[int(last)] = value
        else:
            setattr(owner, last, value)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_set("norms.1.running_var", float("nan")),
         "norms.1.running_var has values that are not finite"),
        (_set("layers.0.weight", float("inf")), "layers.0.weight has values that are not finite"),
        (_set("layers.1", nn.Linear(5, 4)), "fc2 must be a BinaryLinear, not a Linear"),
        (_set("norms.0", nn.LayerNorm(5)),
         "a batch normalisation must follow fc1, not a LayerNorm"),
        (_set("norms.0", nn.BatchNorm1d(5, track_running_stats=False)),
         "the batch normalisation after fc1 has no running statistics: "
         "make it with track_running_stats=True"),
        (_set("norms.1.running_var", -1.0),
         "the batch normalisation after fc2 has a variance below 0"),
        (_set("layers.0.activation_quantiser", RSign(6)),
         "fc1 must have one threshold for all pixels"),
        (_set("layers.2.activation_quantiser", RSign(3)),
         "fc2 has 4 outputs, but 3 thresholds follow it"),
        (_set("layers.2.weight_quantiser", SignWeight()),
         "the classes of fc3 have different scales, so its scores are no integers: "
         "give its weights one scale, as in SignWeight(shared_scale=True)"),
        (_set("layers.2.weight", nn.Parameter(torch.zeros(3, 4))),
         "the scale of fc3 is 0, so all its scores are equal"),
        (_set("layers.1.weight_quantiser", AdaBinWeight(fraction=17)),
         "no network can hold this model: act2: fraction must be an integer from 0 to 16, not 17"),
    ],
)  # fmt: skip
def test_refuses(change, text):
    torch.manual_seed(0)
    model = build("sign", "sign", hidden=(5, 4))
    change(model)
    with pytest.raises(LoweringError, match=rf"^{re.escape(text)}$"):
        lower(model)


def test_refuses_scores_off_the_grid():
    model = build("sign", "sign", hidden=(5, 4))
    model.layers[2].activation_quantiser = AdaBinActivation().double()
    model.layers[2].activation_quantiser.beta.data.fill_(0.1)
    text = (
        "the scores of fc3 need steps finer than 1/65536: put the centres of its activations and "
        "weights on coarser grids, as in AdaBinActivation(fraction=4) and AdaBinWeight(fraction=8)"
    )
    with pytest.raises(LoweringError, match=rf"^{re.escape(text)}$"):
        lower(model)
    model.layers[2].activation_quantiser.fraction = 4
    lower(model)
