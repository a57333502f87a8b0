"""Residual models whose thresholds follow from the frame."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_models import random_model
from tests.residuals import residual_case, scrambled
from xnorflow.errors import NetworkError
from xnorflow.ir import DynamicThreshold, DynamicTwoSlope, FeatureMap, GlobalSum, UInt
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.dynamic import HyperFunction
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.weight_transfer import transfer


DYNAMIC = [method.value for method in ResidualMethod if method.dynamic]
READERS = DynamicThreshold, DynamicTwoSlope
DYBNNS = ["dybnn", "dybnn-separate"]


@pytest.mark.parametrize("method", DYNAMIC)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**20))
def test_network_equals_the_model(method, seed):
    """Every bit, every value of the residual stream, and the labels."""
    case = random_model(seed, method=method)
    network = lower(case.model)
    report = compare(case.model, network, case.images(20, seed))
    assert report.differing == 0, str(report)
    readers = {node.name for node in network.nodes if isinstance(node, READERS)}
    assert readers <= {layer.name for layer in report.layers}


@pytest.mark.parametrize("method", DYBNNS)
def test_training_starts_at_reactnet(method):
    """In floating point, on the grid, and lowered, the model scores as the static one."""
    static = random_model(1, method="reactnet", grid=Grid(14, 6))
    spec = static.spec.with_method(method)
    plain = spec.build().eval()
    left = transfer(plain, spec, static.checkpoint, None)
    assert left
    assert all(".hyper." in name for name in left)
    images = static.images(20)
    x = images.double().movedim(-1, 1)
    models = static.plain.double(), plain.double()
    with torch.no_grad():
        assert torch.equal(*(model(x) for model in models))
        on_grid = [prepare(model, static.grid, static.frame) for model in models]
        assert torch.equal(*(model(x) for model in on_grid))
    assert torch.equal(*(golden(lower(model), images).scores for model in on_grid))


def test_thresholds_differ_from_frame_to_frame():
    case = random_model(2, method="dybnn", grid=Grid())
    (name, *_) = (
        node.parameters for node in lower(case.model).nodes if isinstance(node, DynamicThreshold)
    )
    kept = golden(lower(case.model), case.images(5), keep=[name]).maps[name]
    assert all(bool((kept[n] != kept[n + 1]).any()) for n in range(4))


@pytest.mark.parametrize(
    ("method", "sums", "parameters"),
    [
        ("dybnn", 1, {"blocks_1_hyper"}),
        ("dybnn-separate", 2, {"blocks_1_hyper", "blocks_1_act_shifts"}),
        ("siman-mean", 1, {"blocks_1_above"}),
    ],
)
def test_what_is_shared_is_computed_once(method, sums, parameters):
    network = lower(random_model(3, method=method).model)
    block = [node for node in network.nodes if node.name.startswith("blocks_1_")]
    assert sum(isinstance(node, GlobalSum) for node in block) == sums
    dynamic = [node for node in block if isinstance(node, READERS)]
    assert {node.parameters for node in dynamic} == parameters


@pytest.mark.parametrize("method", DYNAMIC)
def test_parameters_come_before_whoever_else_reads_the_stream(method):
    """So hardware can keep it back for all of them."""
    network = lower(random_model(4, method=method).model)
    order = [node.name for node in network.nodes]
    for node in network.nodes:
        if isinstance(node, DynamicThreshold):
            users = [other.name for other in network.nodes if node.source in other.sources]
            before = [name for name in users if order.index(name) < order.index(node.parameters)]
            assert before == [f"{node.parameters}_sums"]


@pytest.mark.parametrize("method", DYNAMIC)
@pytest.mark.parametrize("name", ["resnet8", "resnet20"])
@pytest.mark.parametrize(("side", "channels"), [(28, 1), (32, 3)])
def test_named_models_are_lowered(method, name, side, channels):
    pixels = IntegerPixels((0.5,) * channels, (0.25,) * channels, bits=5)
    spec = ModelSpec(name, Task((channels, side, side), 10, pixels), {"method": method})
    model = prepare(scrambled(spec, 0), Grid(16), FeatureMap(side, side, channels, UInt(8)))
    images = torch.randint(0, 256, (2, side, side, channels), dtype=torch.uint8)
    report = compare(model, lower(model), images)
    assert report.differing == 0, str(report)


@pytest.mark.parametrize(("ratio", "bits"), [(2, 6), (1000, 4)])
@pytest.mark.parametrize("method", DYBNNS)
def test_hyper_functions_are_as_large_as_they_are_asked_to_be(method, ratio, bits):
    channels = 16, 16, 32
    case = residual_case(
        0,
        shape=(8, 8, 3),
        grid=Grid(),
        first={"channels": 16},
        blocks=[[filters, 1, 3] for filters in channels],
        method=method,
        hyper=[ratio, bits],
    )
    network = lower(case.model)
    squeezes = [
        node
        for node in network.nodes
        if node.name.endswith("hyper_squeeze") and "act" not in node.name
    ]
    hidden = [max(4, before // ratio) for before in [16, *channels[:-1]]]
    assert [len(node.weights) for node in squeezes] == hidden
    parts = [part for part in case.plain.modules() if isinstance(part, HyperFunction)]
    assert {part.bits for part in parts} == {bits}
    report = compare(case.model, network, case.images(3))
    assert report.differing == 0, str(report)


@pytest.mark.parametrize("options", [{"ratio": 0}, {"bits": 13}])
def test_refuses_hyper_functions_in_options(options):
    numbers = [options.get("ratio", 16), options.get("bits", 12)]
    with pytest.raises(NetworkError, match=r"^the (ratio|bits) of a hyper function"):
        random_model(0, method="dybnn", hyper=numbers)
