from fractions import Fraction

import pytest
import torch

from xnorflow.errors import NetworkError
from xnorflow.sw.models import Chain, ChainConfig, Method, Named


def pixels(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 28, 28, 1), dtype=torch.uint8, generator=generator)


def model(config, seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Chain(config)


@pytest.mark.parametrize(("width", "neurons"), [("tfc", 64), ("sfc", 256), ("lfc", 1024)])
def test_widths(width, neurons):
    net = Chain(Named(width).config())
    shapes = [tuple(layer.weight.shape) for layer in net.layers]
    assert shapes == [(neurons, 784), (neurons, neurons), (neurons, neurons), (10, neurons)]


@pytest.mark.parametrize("method", Method)
def test_trains_all_its_parameters(method):
    net = model(ChainConfig((24, 16), method, classes=5))
    logits = net(pixels(32))
    assert logits.shape == (32, 5)
    torch.nn.functional.cross_entropy(logits, torch.arange(32) % 5).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("method", Method)
def test_is_deterministic_in_float64(method):
    net = model(ChainConfig((24, 16), method)).double().eval()
    frames = pixels(20)
    assert torch.equal(net(frames), net(frames))
    assert torch.equal(net(frames), torch.cat([net(frame[None]) for frame in frames]))
    assert net(frames).dtype == torch.float64


@pytest.mark.parametrize("method", Method)
def test_scores_are_integers_up_to_one_factor(method):
    net = model(ChainConfig((24, 16), method)).double().eval()
    layer = net.layers[-1]
    if method is Method.ADABIN:
        with torch.no_grad():
            layer.activation_quantiser.alpha.fill_(0.7)
            layer.activation_quantiser.beta.fill_(0.33)
    activation = layer.activation_quantiser.levels()
    weight = layer.weight_quantiser.levels(layer.weight)
    assert len(set(weight.scale_squared)) == 1

    frames = pixels(20)
    bits = layer.activation_quantiser.distance(net.trace(frames)[-2]) >= 0
    # The scores in units of α·Δa, by the definition of the levels.
    offset = activation.low / activation.step
    scores = [
        [
            sum(
                (offset + int(u)) * (2 * int(v) - 1 + Fraction(int(rho), 2**weight.fraction))
                for u, v in zip(row, bits_of_filter, strict=True)
            )
            for bits_of_filter, rho in zip(weight.bits, weight.centres, strict=True)
        ]
        for row in bits
    ]
    assert all((score * 2**13).denominator == 1 for row in scores for score in row)
    logits = net(frames)
    factor = logits.abs().max().item() / float(max(abs(score) for row in scores for score in row))
    for row, exact in zip(logits.tolist(), scores, strict=True):
        assert row == pytest.approx([factor * float(score) for score in exact])
        # Equal scores are equal logits, to the last bit.
        assert [[a < b for b in row] for a in row] == [[a < b for b in exact] for a in exact]


def test_half_of_the_neurons_with_siman_weights_start_turned_round():
    for method in Method:
        weight = Chain(ChainConfig((5, 4), method)).norms[0].weight
        turned = [1, -1, 1, -1, 1] if method is Method.SIMAN else [1] * 5
        assert weight.tolist() == turned


def test_trace_ends_with_the_logits():
    net = model(ChainConfig((24, 16))).double().eval()
    frames = pixels(4)
    *inputs, logits = net.trace(frames)
    assert torch.equal(logits, net(frames))
    assert [x.shape[1] for x in inputs] == [784, 24, 16]
    assert torch.equal(inputs[0], frames.flatten(1).double())
    assert torch.equal(inputs[1], net.norms[0](net.layers[0](inputs[0])))


def test_the_seed_decides_the_weights():
    config = ChainConfig((24, 16))
    first, again, other = (model(config, seed).layers[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": (64, 0)}, r"layers must have 1 to 65536 values, not \(784, 64, 0\)$"),
        ({"hidden": (1 << 17,)}, r"must have 1 to 65536 values, not \(784, 131072\)$"),
        ({"hidden": (64,), "input_shape": (28, 28)}, r"width and channels, not \(28, 28\)$"),
        ({"hidden": (64,), "input_shape": (28, -1, -1)}, r"channels, not \(28, -1, -1\)$"),
        ({"hidden": (64,), "classes": 1}, "^there must be 2 to 65536 classes, not 1$"),
    ],
)
def test_refuses_sizes_out_of_range(options, message):
    with pytest.raises(NetworkError, match=message):
        ChainConfig(**options)
