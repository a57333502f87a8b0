from dataclasses import replace

import pytest
import torch

from xnorflow.errors import DataError
from xnorflow.sw.models import IntegerPixels
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.weights import SignWeight
from xnorflow.sw.residual import Residual, ResidualConfig, ResidualMethod, StemConfig, UnitConfig
from xnorflow.sw.train import adopt
from xnorflow.sw.translate import translate


CONFIG = ResidualConfig(
    ResidualMethod.ADABIN,
    StemConfig(8),
    (UnitConfig(8), UnitConfig(16, stride=2)),
    IntegerPixels((0.4,), (0.3,)),
    input_shape=(12, 12, 1),
    classes=3,
)
OTHERS = [method for method in ResidualMethod if method is not ResidualMethod.ADABIN]
LEARNED = [method for method in OTHERS if method is not ResidualMethod.SIMAN_MEAN]


@pytest.fixture
def start():
    torch.manual_seed(1)
    model = Residual(CONFIG)
    with torch.no_grad():
        for unit in model.units:
            unit.conv.conv.weight += (
                0.2 * unit.conv.conv.weight.std() * torch.randn(len(unit.conv.conv.weight), 1, 1, 1)
            )
            unit.conv.conv.activation_quantiser.beta.fill_(0.3)
            unit.conv.conv.activation_quantiser.alpha.fill_(-0.7)
            unit.conv.norm.weight.normal_()
    return model


@pytest.mark.parametrize("method", OTHERS)
def test_bits_are_those_of_the_largest_weights(start, method):
    model = translate(start, replace(CONFIG, method=method)).eval()
    for ours, theirs in zip(model.units, start.units, strict=True):
        code = ours.conv.quantise().code.flatten(1)
        weight = theirs.conv.conv.weight.flatten(1)
        signs = isinstance(ours.conv.conv.weight_quantiser, SignWeight)
        medians = weight.median(dim=1, keepdim=True).values
        expected = weight >= 0 if signs else weight > medians
        # SiMaN's mean is not quite 0, so that two neighbours of the median may change places.
        most = 0 if signs else 2
        assert ((code > 0) != expected).sum(dim=1).max() <= most
        assert torch.equal(ours.conv.norm.weight, theirs.conv.norm.weight)


@pytest.mark.parametrize("method", LEARNED)
def test_activations_are_compared_with_the_same_thresholds(start, method):
    model = translate(start, replace(CONFIG, method=method))
    for ours, theirs in zip(model.units, start.units, strict=True):
        channels = ours.conv.conv.weight.shape[1]
        x = torch.tensor([-1.0, 0.29, 0.31, 1.0])[:, None].expand(-1, channels)
        signs = ours.conv.conv.activation_quantiser.signs(x)
        # α < 0 turns both the comparison and the levels round.
        expected = -theirs.conv.conv.activation_quantiser.signs(x)
        assert torch.equal(signs, expected)


@pytest.mark.parametrize("method", OTHERS)
def test_training_starts_with_a_translation(start, method):
    config = replace(CONFIG, method=method, grid=Grid())
    model = Residual(config)
    adopt(model, start)
    for ours, expected in zip(model.units, translate(start, config).units, strict=True):
        assert torch.equal(ours.conv.conv.weight, expected.conv.conv.weight)
        thresholds = (unit.conv.conv.activation_quantiser for unit in (ours, expected))
        states = [quantiser.state_dict() for quantiser in thresholds]
        assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_refuses_what_is_not_adabins(start):
    other = replace(CONFIG, method=ResidualMethod.SIMAN)
    message = "^only an AdaBin model of the same shape can be translated$"
    with pytest.raises(DataError, match=message):
        translate(Residual(other), replace(CONFIG, method=ResidualMethod.REACTNET))
    with pytest.raises(DataError, match=message):
        translate(start, replace(other, units=(UnitConfig(8), UnitConfig(8))))
