"""Activations and weights of 1 to 4 bits, from layers to integers."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.definitions import reference
from tests.low_bit import FRAME, low_bit_model, low_bit_network
from xnorflow.errors import LoweringError, NetworkError
from xnorflow.ir import BinaryConv, IntegerConv, MultiThreshold, xnf
from xnorflow.nn import BinaryConv2d, Border, IntegerActivation, IntegerWeight, Sign, SignWeight
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.grid import Grid


def random_frames(network, count, seed=0):
    kind = network.input.type
    rng = np.random.default_rng(seed)
    return rng.integers(kind.low, kind.high + 1, (count, *network.input.shape)).astype(np.int16)


@settings(max_examples=60)
@given(st.integers(0, 2**20))
def test_golden_follows_the_definitions(seed):
    network = low_bit_network(seed)
    frames = random_frames(network, 3, seed)
    names = [node.name for node in network.nodes]
    result = golden(network, frames, keep=names)
    for n, frame in enumerate(frames):
        maps, _ = reference(network, frame)
        for name, map_ in maps.items():
            if name in names:
                assert result.maps[name][n].tolist() == map_.tolist(), name


@settings(max_examples=60)
@given(st.integers(0, 2**20))
def test_files_keep_every_network(seed):
    network = low_bit_network(seed)
    data = xnf.dumps(network)
    assert xnf.dumps(xnf.loads(data)) == data
    frames = random_frames(network, 3, seed)
    again = xnf.loads(data)
    assert torch.equal(golden(again, frames).scores, golden(network, frames).scores)


def test_thresholds_of_other_programs_may_be_out_of_range():
    network = low_bit_network(1)
    node = next(node for node in network.nodes if isinstance(node, MultiThreshold))
    wide = replace(node, thresholds=np.full_like(node.thresholds, 1 << 30))
    nodes = [wide if each is node else each for each in network.nodes]
    with pytest.raises(NetworkError, match="outside the range"):
        replace(network, nodes=tuple(nodes))
    (clipped, *_) = (
        each for each in xnf.clip_thresholds(network.input, nodes) if each.name == node.name
    )
    assert clipped.thresholds.max() == network.input.type.high + 1


MODELS = [
    (1, 1, {}),
    (1, 2, {}),
    (1, 2, {"signed": True}),
    (1, 3, {"signed": True, "narrow": True}),
    (2, 2, {"signed": True, "narrow": True}),
    (3, 4, {}),
]


@pytest.mark.parametrize(("weight_bits", "activation_bits", "options"), MODELS)
def test_networks_equal_their_models(weight_bits, activation_bits, options):
    model = low_bit_model(weight_bits, activation_bits, **options)
    network = lower(model, input=FRAME)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (300, *FRAME.shape), dtype=torch.uint8, generator=generator)

    report = compare(model, network, images)

    assert report.differing == 0, str(report)
    assert len(report.layers) == 3
    binary = [node for node in network.nodes if isinstance(node, BinaryConv)]
    integer = [node for node in network.nodes if isinstance(node, IntegerConv)]
    # Weights of −1, 0 and 1 are counted, too.
    assert (len(binary), len(integer)) == ((3, 1) if weight_bits <= 2 else (0, 4))
    assert any(node.mask is not None for node in binary) == (weight_bits == 2)
    bits = len(bin(IntegerActivation(activation_bits, **options).high * 2)) - 3
    assert {node.bits for node in binary} <= {activation_bits, bits}
    # Codes are not the same for all images, or nothing would have been compared.
    last = network.nodes[-4].name
    kept = golden(network, images, keep=[last]).maps[last]
    assert len(torch.unique(kept)) > 1


def test_a_wrong_threshold_is_found():
    model = low_bit_model(1, 2)
    network = lower(model, input=FRAME)

    def changed(node):
        if not isinstance(node, MultiThreshold):
            return node
        more = np.sort(node.thresholds + 1, axis=0)
        return replace(node, thresholds=np.minimum(more, node.thresholds.max()))

    images = torch.randint(0, 256, (100, *FRAME.shape), dtype=torch.uint8)
    wrong = replace(network, nodes=tuple(map(changed, network.nodes)))
    assert compare(model, wrong, images).differing > 0


def test_codes_are_rounded_half_up():
    quantiser = IntegerActivation(3, signed=True, scale=0.25)
    x = torch.tensor([-9.0, -1.0, -0.376, -0.375, -0.125, 0.0, 0.124, 0.125, 0.375, 5.0])
    code, scale = quantiser.encode(x[:, None])
    assert code.flatten().tolist() == [-4, -4, -2, -1, 0, 0, 0, 1, 2, 3]
    assert scale.item() == pytest.approx(0.25)
    narrow = IntegerActivation(2, signed=True, narrow=True)
    assert narrow.encode(x[:, None])[0].unique().tolist() == [-1, 0, 1]


def test_gradients_are_those_of_lsq():
    quantiser = IntegerActivation(2, scale=0.5).double()
    x = torch.tensor([[-1.0, 0.2, 0.6, 1.1, 9.0]], dtype=torch.float64, requires_grad=True)
    code, scale = quantiser.encode(x)
    (code * scale).sum().backward()
    assert x.grad.tolist() == [[0, 1, 1, 1, 0]]
    # Below the range 0, above it its end, inside round(x/s) − x/s; times s for the logarithm.
    inside = sum(round(v / 0.5) - v / 0.5 for v in (0.2, 0.6, 1.1))
    expected = (0 + inside + 3) * (5 * 3) ** -0.5 * 0.5
    assert quantiser.log_scale.grad.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: IntegerActivation(0), "bits must be an integer of at least 1, not 0"),
        (lambda: IntegerActivation(1, signed=True), "bits must be an integer of at least 2, not 1"),
        (lambda: IntegerActivation(5), "activations have at most 4 bits, not 5"),
        (lambda: IntegerActivation(2, scale=0), "the scale of activations must be above 0, not 0"),
        (
            lambda: BinaryConv2d(
                1, 1, 3, SignWeight(), IntegerActivation(2), padding=1, border=Border.LOWER
            ),
            "a border of the lower level needs a quantiser of two levels",
        ),
    ],
)
def test_refuses_layers(make, text):
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}$"):
        make()


@pytest.mark.parametrize(
    "layer",
    [
        BinaryConv2d(2, 2, 3, SignWeight(), IntegerActivation(2)),
        BinaryConv2d(2, 2, 3, IntegerWeight(2), Sign()),
    ],
)
def test_grids_are_for_two_levels(layer):
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.BatchNorm2d(2),
        layer,
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(2, 3),
    )
    with pytest.raises(LoweringError, match=r"^2 .BinaryConv2d. must have quantisers of two level"):
        prepare(model, Grid(), FRAME)
