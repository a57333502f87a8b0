from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.training import MODEL, untrained
from xnorflow.errors import DataError
from xnorflow.sw.data import values_of
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.sign import SignWeight
from xnorflow.sw.weight_transfer import _balance, _same, transfer


SPEC = ModelSpec(
    "residual",
    Task((1, 12, 12), 3, IntegerPixels((0.4,), (0.3,))),
    {"first": {"channels": 8}, "blocks": [[8, 1, 3], [16, 2, 3]]},
)
BIPOLAR, HALF = (SPEC.with_method(method) for method in ("siman-bipolar", "siman"))
OTHERS = [method for method in ResidualMethod if method is not ResidualMethod.ADABIN]
LEARNED = [method for method in OTHERS if method is not ResidualMethod.SIMAN_MEAN]


@pytest.fixture
def start():
    torch.manual_seed(1)
    checkpoint = untrained(SPEC)
    with torch.no_grad():
        for block in checkpoint.model.blocks:
            weight, quantiser = block.conv.weight, block.conv.activation_quantiser
            weight += 0.2 * weight.std() * torch.randn(len(weight), 1, 1, 1)
            quantiser.beta.fill_(0.3)
            quantiser.alpha.fill_(-0.7)
            block.norm.weight.normal_()
    return checkpoint


def started(spec, start, images=None):
    """Model of a ``spec`` that starts with another one's parameters."""
    model = spec.build()
    transfer(model, spec, start, images)
    return model.eval()


def pairs(model, start):
    return zip(model.blocks, start.model.blocks, strict=True)


def code_of(block):
    """Of a block's weights (filters, synapses)."""
    return block.conv.weight_quantiser.encode(block.conv.weight.flatten(1))[0]


def polarity(block):
    """Of the thresholds of a block, as a factor of its weights."""
    found = getattr(block.conv.activation_quantiser, "polarity", None)
    return torch.ones(1, 1, 1) if found is None else found[:, None, None]


def turned(block, values):
    """Values (filters, synapses) times the polarities."""
    return (values.view_as(block.conv.weight) * polarity(block)).flatten(1)


@pytest.mark.parametrize("method", OTHERS)
def test_bits_are_those_of_the_largest_weights(start, method):
    model = started(SPEC.with_method(method.value), start)
    for ours, theirs in pairs(model, start):
        weight = (theirs.conv.weight * polarity(ours)).flatten(1)
        signs = isinstance(ours.conv.weight_quantiser, SignWeight)
        medians = weight.median(dim=1, keepdim=True).values
        expected = weight >= 0 if signs else weight > medians
        # SiMaN's mean is not quite 0, so that two neighbours of the median may change places.
        most = 0 if signs else 2
        assert ((code_of(ours) > 0) != expected).sum(dim=1).max() <= most
        assert torch.equal(ours.norm.weight, theirs.norm.weight)


@pytest.mark.parametrize("method", LEARNED)
def test_activations_are_compared_with_the_same_thresholds(start, method):
    model = started(SPEC.with_method(method.value), start)
    for ours, theirs in pairs(model, start):
        channels = ours.conv.weight.shape[1]
        x = torch.tensor([-1.0, 0.29, 0.31, 1.0])[:, None].expand(-1, channels)
        signs = ours.conv.activation_quantiser.signs(x)
        # α < 0 turns both the comparison and the levels round.
        expected = -theirs.conv.activation_quantiser.signs(x)
        assert torch.equal(signs, expected * polarity(ours).flatten())


@pytest.mark.parametrize("method", OTHERS)
def test_a_model_on_a_grid_starts_with_the_same(start, method):
    spec = SPEC.with_method(method.value)
    expected = started(spec, start)
    model = prepare(spec.build(), Grid(), start.frame)
    transfer(model, spec, start)
    found, state = model.state_dict(), expected.state_dict()
    names = [name for name in state if "conv.activation_quantiser" in name]
    names += [f"blocks.{n}.conv.weight" for n in range(2)]
    assert all(torch.equal(found[name], state[name]) for name in names)


@pytest.mark.parametrize("looks", [False, True])
def test_weights_0_and_1_select_what_signs_added(looks):
    """Where a weight is +1, the {0, 1} weight of the turned bit is 1, and where it is −1, 0."""
    torch.manual_seed(2)
    start = untrained(BIPOLAR)
    model = started(HALF, start, stripes() if looks else None)
    for ours, theirs in pairs(model, start):
        signs = turned(ours, code_of(theirs))
        # Half of a filter's bits are 1; of the signs, which polarities turn, only about as many.
        uneven = signs.sum(dim=1).abs() / 2
        # Two neighbours of the median may change places.
        assert ((code_of(ours) != (signs > 0)).sum(dim=1) - uneven).max() <= 2


def test_polarities_keep_small_what_filters_have_in_common():
    torch.manual_seed(2)
    start = untrained(BIPOLAR)
    seen = []
    with torch.no_grad():
        for block in start.model.blocks:
            block.conv.activation_quantiser.bias.uniform_(-1, 0)
            block.conv.register_forward_pre_hook(lambda conv, given: seen.append((conv, given[0])))
        start.model(values_of(stripes()))
    inputs = list(seen)
    model = started(HALF, start, stripes())
    for block, (conv, x) in zip(model.blocks, inputs, strict=True):
        signs = conv.activation_quantiser.signs(x.movedim(1, -1)).movedim(-1, 1)
        taps = torch.ones(1, 1, 3, 3)
        stride = conv.stride

        def common(factors, signs=signs, taps=taps, stride=stride):
            total = (signs * factors).sum(dim=1, keepdim=True)
            return functional.conv2d(total, taps, stride=stride, padding=1).var()

        found = polarity(block)
        turns = 1 - 2 * (torch.arange(len(found)) % 2)[:, None, None]
        assert common(found) < 0.7 * common(turns)
        # One more that is inverted makes it larger.
        for channel in range(len(found)):
            other = found.clone()
            other[channel] *= -1
            assert common(other) >= common(found)


def stripes():
    """Frames of waves: what channels see of them is alike."""
    rows, columns = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    waves = [
        torch.sin(rows * a + columns * b) for a in (0.2, 0.5, 0.9, 1.4) for b in (0.1, 0.4, 1.0)
    ]
    return (127 * (1 + torch.stack(waves)))[..., None].to(torch.uint8)


PAIRS = [
    (before, after)
    for before in ResidualMethod
    for after in ResidualMethod
    if before is not ResidualMethod.ADABIN
    and not _same(SPEC.with_method(before.value), SPEC.with_method(after.value))
]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_any_method_can_start_with_another_ones_bits(before, after):
    torch.manual_seed(2)
    start = untrained(SPEC.with_method(before.value))
    model = started(SPEC.with_method(after.value), start, stripes())
    for ours, theirs in pairs(model, start):
        found, expected = (
            turned(block, torch.where(code_of(block) > 0, 1.0, -1.0)) for block in (ours, theirs)
        )
        # AdaBin's signs are about each filter's mean; of SiMaN's, half are positive.
        assert (found == expected).float().mean() > 0.85


def test_methods_of_a_family_share_their_weights():
    def same(before, after):
        return _same(SPEC.with_method(before), SPEC.with_method(after))

    assert same("reactnet", "dybnn")
    assert same("siman-mean", "siman-bipolar")
    assert not same("siman", "siman-bipolar")
    assert all(same(method.value, method.value) for method in ResidualMethod)


def test_polarities_end_at_some_point():
    """Of channels that are alike, turning one is worth no more than a rounding error."""
    conv = HALF.build().blocks[0].conv
    signs = torch.randn(20, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    assert _balance(signs.expand(-1, 8, -1, -1), conv).sum() == 0
    assert torch.equal(_balance(torch.ones(2, 8, 12, 12), conv).abs(), torch.ones(8).double())


def test_a_transfer_leaves_its_start_as_it_was():
    start = untrained(BIPOLAR)
    start.model.train()
    state = {name: value.clone() for name, value in start.model.state_dict().items()}
    started(HALF, start, stripes())
    assert start.model.training
    found = start.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


@pytest.mark.parametrize("blocks", [[[8, 1, 3], [8, 1, 3]], [[8, 1, 3], [16, 2, 3], [16, 1, 3]]])
def test_refuses_another_shape(start, blocks):
    spec = replace(HALF, options={**HALF.options, "blocks": blocks})
    message = "^a model of another method can start only with one of the same shape$"
    with pytest.raises(DataError, match=message):
        started(spec, start)


def test_what_does_not_fit_starts_anew():
    torch.manual_seed(0)
    start, spec = untrained(SPEC.with_method("reactnet")), SPEC.with_method("dybnn")
    model = spec.build()
    fresh = transfer(model, spec, start)
    assert torch.equal(model.blocks[0].conv.weight, start.model.blocks[0].conv.weight)
    assert "blocks.0.hyper.squeeze.weight" in fresh
    assert "blocks.0.conv.weight" not in fresh
    assert not (set(fresh) & start.model.state_dict().keys())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sign", "siman"),
        ("adabin", "siman-bipolar"),
        ("siman", "adabin"),
        ("siman-bipolar", "siman"),
    ],
)
def test_refuses_to_start_with_weights_that_would_be_other_bits(before, after):
    text = f"as {after}, the weights of a {before} model would be other bits: train one from its"
    with pytest.raises(DataError, match=f"^{text} first parameters$"):
        started(MODEL.with_method(after), untrained(MODEL.with_method(before)))


def test_signs_start_adabin():
    start = untrained(MODEL)
    model = started(MODEL.with_method("adabin"), start)
    assert torch.equal(model.fc1.weight, start.model.fc1.weight)


def test_refuses_to_start_with_another_kind_of_model():
    text = "nothing of the model to start from fits the one to be trained"
    with pytest.raises(DataError, match=f"^{text}$"):
        started(SPEC, untrained(MODEL))
