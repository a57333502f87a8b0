"""Residual models whose thresholds follow from the frame."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.residuals import scrambled
from tests.sw.test_residual import PIXELS, UNITS, frames, random_model
from xnorflow.errors import NetworkError
from xnorflow.ir import DynamicThreshold, DynamicTwoSlope, GlobalSum
from xnorflow.sw.compare import compare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.dynamic import HyperConfig, HyperFunction
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.unit import Shortcut
from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import ResidualConfig, ResidualMethod, StemConfig, UnitForm
from xnorflow.sw.residual_names import NamedResidual
from xnorflow.sw.train import adopt


DYNAMIC = [method for method in ResidualMethod if method.dynamic]
_READERS = DynamicThreshold, DynamicTwoSlope
DYBNNS = [ResidualMethod.DYBNN, ResidualMethod.DYBNN_APART]


@pytest.mark.parametrize("method", DYNAMIC)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_network_equals_the_model(method, seed):
    """Every threshold and shift, every bit, every value of the residual stream, and the labels."""
    model = random_model(seed, method=method)
    network = lower(model)
    report = compare(model, network, frames(model, 20, seed))
    assert report.differing == 0, str(report)
    parameters = {node.parameters for node in network.nodes if isinstance(node, _READERS)}
    assert parameters <= {layer.name for layer in report.layers}


@pytest.mark.parametrize("method", DYBNNS)
@pytest.mark.parametrize("grid", [None, Grid(14, 6)])
def test_training_starts_at_reactnet(method, grid):
    """Every value of the trained static model, and its lowered scores."""
    static = random_model(1, method=ResidualMethod.REACTNET, grid=grid)
    model = Residual(replace(static.config, method=method)).eval()
    left = adopt(model, static)
    assert left
    assert all(".hyper." in name for name in left)
    x = frames(model, 20)
    static, model = static.double(), model.double()
    with torch.no_grad():
        expected, found = static.trace(x), model.trace(x)
    assert {name for name in found if not name.endswith(("_frame", "_shifts"))} == expected.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    if grid is not None:
        scores = [golden(lower(net), x).scores for net in (static, model)]
        assert torch.equal(*scores)


def test_thresholds_differ_from_frame_to_frame():
    model = random_model(2, method=ResidualMethod.DYBNN, grid=Grid())
    network = lower(model)
    kept = golden(network, frames(model, 5), keep=["unit1_frame"]).maps["unit1_frame"]
    assert all(bool((kept[n] != kept[n + 1]).any()) for n in range(4))


@pytest.mark.parametrize(
    ("method", "sums", "parameters"),
    [
        (ResidualMethod.DYBNN, 1, {"unit2_frame"}),
        (ResidualMethod.DYBNN_APART, 2, {"unit2_frame", "unit2_shifts"}),
        (ResidualMethod.SIMAN_MEAN, 1, {"unit2_frame"}),
    ],
)
def test_what_is_shared_is_computed_once(method, sums, parameters):
    network = lower(random_model(3, method=method))
    unit = [node for node in network.nodes if node.name.startswith("unit2")]
    assert sum(isinstance(node, GlobalSum) for node in unit) == sums
    dynamic = [node for node in unit if isinstance(node, DynamicThreshold | DynamicTwoSlope)]
    assert {node.parameters for node in dynamic} == parameters


@pytest.mark.parametrize("method", DYNAMIC)
def test_parameters_come_before_whoever_else_reads_the_stream(method):
    """So hardware can keep it back for all of them."""
    network = lower(random_model(4, method=method))
    order = [node.name for node in network.nodes]
    for node in network.nodes:
        if isinstance(node, DynamicThreshold):
            users = [other.name for other in network.nodes if node.source in other.sources]
            before = [name for name in users if order.index(name) < order.index(node.parameters)]
            assert before == [f"{node.parameters}_sums"]


@pytest.mark.parametrize("method", DYNAMIC)
@pytest.mark.parametrize("named", [NamedResidual.RESNET8, NamedResidual.RESNET20])
@pytest.mark.parametrize("side", [28, 32])
def test_named_models_are_lowered(method, named, side):
    channels = 1 if side == 28 else 3
    pixels = replace(PIXELS, mean=PIXELS.mean[:channels], deviation=PIXELS.deviation[:channels])
    config = named.config(method, pixels, input_shape=(side, side, channels), grid=named.grid)
    model = scrambled(config, 0)
    report = compare(model, lower(model), frames(model, 2))
    assert report.differing == 0, str(report)


@pytest.mark.parametrize("hyper", [HyperConfig(ratio=2, bits=6), HyperConfig(ratio=1000, bits=4)])
@pytest.mark.parametrize("method", DYBNNS)
def test_hyper_functions_are_as_large_as_they_are_asked_to_be(method, hyper):
    config = NamedResidual.RESNET8.config(method, PIXELS, input_shape=(8, 8, 3), grid=Grid())
    model = scrambled(replace(config, hyper=hyper), 0)
    network = lower(model)
    squeezes = [node for node in network.nodes if node.name.endswith("_frame_squeeze")]
    channels = [unit.channels for unit in config.units]
    hidden = [max(4, before // hyper.ratio) for before in [16, *channels[:-1]]]
    assert [len(node.weights) for node in squeezes] == hidden
    parts = [part for part in model.modules() if isinstance(part, HyperFunction)]
    assert {part.bits for part in parts} == {hyper.bits}
    report = compare(model, network, frames(model, 3))
    assert report.differing == 0, str(report)


@pytest.mark.parametrize("changes", [{"form": UnitForm.CLASSIC}, {"shortcut": Shortcut.BINARY}])
def test_refuses_units_of_several_convolutions(changes):
    text = "^siman-mean is for units of one convolution, with a shortcut that has none of bits$"
    with pytest.raises(NetworkError, match=text):
        ResidualConfig(ResidualMethod.SIMAN_MEAN, StemConfig(4), UNITS, PIXELS, **changes)
