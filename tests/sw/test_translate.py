from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from xnorflow.errors import DataError
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.sign import SignWeight
from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import ResidualConfig, ResidualMethod, StemConfig, UnitConfig
from xnorflow.sw.train import adopt
from xnorflow.sw.translate import _balance, is_translated, translate


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


def polarity(unit):
    """Of the thresholds of a unit, as a factor of its weights."""
    found = getattr(unit.conv.conv.activation_quantiser, "polarity", None)
    return torch.ones(1, 1, 1) if found is None else found[:, None, None]


@pytest.mark.parametrize("method", OTHERS)
def test_bits_are_those_of_the_largest_weights(start, method):
    model = translate(start, replace(CONFIG, method=method)).eval()
    for ours, theirs in zip(model.units, start.units, strict=True):
        code = ours.conv.quantise().code.flatten(1)
        weight = (theirs.conv.conv.weight * polarity(ours)).flatten(1)
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
        assert torch.equal(signs, expected * polarity(ours).flatten())


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


BIPOLAR, HALF = (
    replace(CONFIG, method=method)
    for method in (ResidualMethod.SIMAN_BIPOLAR, ResidualMethod.SIMAN)
)


@pytest.mark.parametrize("looks", [False, True])
def test_weights_0_and_1_select_what_signs_added(looks):
    """Where a weight is +1, the {0, 1} weight of the turned bit is 1, and where it is −1, 0."""
    torch.manual_seed(2)
    start = Residual(BIPOLAR)
    model = translate(start, HALF, stripes() if looks else None)
    for ours, theirs in zip(model.units, start.units, strict=True):
        bits = ours.conv.quantise().code.flatten(1)
        signs = (theirs.conv.quantise().code * polarity(ours)).flatten(1)
        # Half of a filter's bits are 1; of the signs, which polarities turn, only about as many.
        uneven = signs.sum(dim=1).abs() / 2
        # Two neighbours of the median may change places.
        assert ((bits != (signs > 0)).sum(dim=1) - uneven).max() <= 2


def test_polarities_keep_small_what_filters_have_in_common():
    torch.manual_seed(2)
    start = Residual(BIPOLAR).eval()
    with torch.no_grad():
        for unit in start.units:
            unit.conv.conv.activation_quantiser.bias.uniform_(-1, 0)
    images = stripes()
    trace = start.trace(images)
    model = translate(start, HALF, images)
    for n, unit in enumerate(model.units, 1):
        signs = torch.where(trace[f"unit{n}_bits"] >= 0, 1.0, -1.0)
        taps = torch.ones(1, 1, 3, 3)
        stride = unit.conv.conv.stride

        def common(factors, signs=signs, taps=taps, stride=stride):
            total = (signs * factors).sum(dim=1, keepdim=True)
            return functional.conv2d(total, taps, stride=stride, padding=1).var()

        found = polarity(unit)
        turns = 1 - 2 * (torch.arange(len(found)) % 2)[:, None, None]
        assert common(found) < 0.7 * common(turns)
        # One more that is inverted makes it larger.
        for channel in range(len(found)):
            turned = found.clone()
            turned[channel] *= -1
            assert common(turned) >= common(found)


def test_training_looks_at_its_images():
    torch.manual_seed(3)
    start, model = Residual(BIPOLAR), Residual(HALF)
    adopt(model, start, stripes())
    expected, turns = (translate(start, HALF, images) for images in (stripes(), None))
    same = [
        [torch.equal(polarity(a), polarity(b)) for a, b in zip(model.units, units, strict=True)]
        for units in (expected.units, turns.units)
    ]
    assert all(same[0])
    assert not all(same[1])


def stripes():
    """Frames of waves: what channels see of them is alike."""
    rows, columns = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    waves = [
        torch.sin(rows * a + columns * b) for a in (0.2, 0.5, 0.9, 1.4) for b in (0.1, 0.4, 1.0)
    ]
    return (127 * (1 + torch.stack(waves)))[..., None].to(torch.uint8)


def select(unit):
    """Bits of a unit's weights, as if its thresholds had no polarity, as ±1."""
    bits = torch.where(unit.conv.quantise().code > 0, 1.0, -1.0)
    return (bits * polarity(unit)).flatten(1)


PAIRS = [
    (before, after)
    for before in ResidualMethod
    for after in ResidualMethod
    if is_translated(before, after) and before is not ResidualMethod.ADABIN
]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_any_method_can_start_with_another_ones_bits(before, after):
    torch.manual_seed(2)
    start = Residual(replace(CONFIG, method=before))
    model = Residual(replace(CONFIG, method=after))
    adopt(model, start, stripes())
    for ours, theirs in zip(model.units, start.units, strict=True):
        found, expected = select(ours), select(theirs)
        # AdaBin's signs are about each filter's mean; of SiMaN's, half are positive.
        assert (found == expected).float().mean() > 0.85


def test_methods_of_a_family_share_their_weights():
    assert not is_translated(ResidualMethod.REACTNET, ResidualMethod.DYBNN)
    assert not is_translated(ResidualMethod.SIMAN_MEAN, ResidualMethod.SIMAN_BIPOLAR)
    assert all(not is_translated(method, method) for method in ResidualMethod)


def test_polarities_end_at_some_point():
    """Of channels that are alike, turning one is worth no more than a rounding error."""
    normed = Residual(HALF).units[0].conv
    signs = torch.randn(20, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    found = _balance(signs.expand(-1, 8, -1, -1), normed)
    assert found.sum() == 0
    assert torch.equal(_balance(torch.ones(2, 8, 12, 12), normed).abs(), torch.ones(8).double())


def test_a_translation_leaves_its_start_as_it_was():
    start = Residual(BIPOLAR)
    state = {name: value.clone() for name, value in start.state_dict().items()}
    translate(start, HALF, stripes())
    assert start.training
    assert all(torch.equal(start.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize("changes", [{"units": (UnitConfig(8), UnitConfig(8))}, {"classes": 4}])
def test_refuses_another_shape(start, changes):
    message = "^a model of another method can start only with one of the same shape$"
    with pytest.raises(DataError, match=message):
        translate(start, replace(HALF, **changes))
    with pytest.raises(DataError, match=message):
        adopt(Residual(replace(HALF, **changes)), start)
