import re
from fractions import Fraction

import pytest
import torch

from xnorflow.errors import NetworkError
from xnorflow.sw.models.chain import Chain, ChainConfig, ConvConfig, Method, Named
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.conv import Border, IntegerConv2d
from xnorflow.sw.nn.linear import IntegerLinear


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


# -- convolutions ---------------------------------------------------------------------------------

PIXELS = IntegerPixels((0.3,), (0.4,))


def shapes(net):
    return [tuple(layer.weight.shape) for layer in net.layers]


def test_cnv_is_that_of_finn():
    pixels_ = IntegerPixels((0.5,) * 3, (0.5,) * 3)
    config = Named.CNV.config(input_shape=(32, 32, 3), pixels=pixels_)
    sides = [x[0] for x in config.maps]
    assert sides == [32, 30, 14, 12, 5, 3, 1]
    assert shapes(Chain(config)) == [
        (64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3), (256, 128, 3, 3),
        (256, 256, 3, 3), (512, 256), (512, 512), (10, 512),
    ]  # fmt: skip
    assert config.synapses == sum(layer.weight.numel() for layer in Chain(config).layers)


def test_vgg_small():
    pixels_ = IntegerPixels((0.5,) * 3, (0.5,) * 3)
    config = Named.VGG_SMALL.config(input_shape=(32, 32, 3), pixels=pixels_, width=1 / 8)
    assert [x[0] for x in config.maps] == [32, 32, 16, 16, 8, 8, 4]
    net = Chain(config)
    assert shapes(net) == [
        (16, 3, 3, 3), (16, 16, 3, 3), (32, 16, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3),
        (64, 64, 3, 3), (10, 1024),
    ]  # fmt: skip
    assert isinstance(net.layers[0], IntegerConv2d)
    assert isinstance(net.layers[-1], IntegerLinear)


def test_small_nets_fit_small_devices():
    config = Named.CONV_S.config()
    assert config.synapses < 60_000
    assert all(layer.channels % 16 == 0 for layer in config.convolutions)
    assert str(config) == "conv 16p2-32p2-64"
    assert str(Named.CONV_M.config(pixels=PIXELS)) == "conv 32-64p2-128"
    assert str(Named.TFC.config()) == "mlp 64-64-64"


def conv_config(method, **options):
    layers = (ConvConfig(6, padding=1, pool=2), ConvConfig(4, 5, stride=2, padding=1))
    return ChainConfig((7,), method, classes=5, convolutions=layers, **options)


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("first", [None, PIXELS])
@pytest.mark.parametrize("border", Border)
def test_convolutions_train_all_their_parameters(method, first, border):
    net = model(conv_config(method, pixels=first, border=border, score_bits=4))
    logits = net(pixels(32))
    assert logits.shape == (32, 5)
    torch.nn.functional.cross_entropy(logits, torch.arange(32) % 5).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("method", Method)
def test_trace_of_convolutions(method):
    net = model(conv_config(method)).double().eval()
    frames = pixels(4)
    *inputs, logits = net.trace(frames)
    assert torch.equal(logits, net(frames))
    assert [tuple(x.shape[1:]) for x in inputs] == [(28, 28, 1), (14, 14, 6), (144,), (7,)]
    # Layer, max-pool, batch normalisation.
    y = net.layers[0](frames.permute(0, 3, 1, 2).double())
    pooled = y.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5))
    assert torch.equal(inputs[1], net.norms[0](pooled).permute(0, 2, 3, 1))
    # Channels run fastest where a dense layer follows.
    z = net.norms[1](net.layers[1](inputs[1].permute(0, 3, 1, 2)))
    assert torch.equal(inputs[2], z.permute(0, 2, 3, 1).flatten(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvConfig(8, kernel=4), "a kernel's side must be 1, 3, 5 or 7, not 4"),
        (lambda: ConvConfig(8, padding=3),
         "the padding must be less than the kernel's side 3, not 3"),
        (lambda: ConvConfig(0), "the channels of a convolution must be from 1 to 65536, not 0"),
        (lambda: ConvConfig(8, pool=0), "the pool of a convolution must be from 1 to 65536, not 0"),
        (lambda: ChainConfig(convolutions=(ConvConfig(8, pool=30),)),
         "a 3×3 kernel with a 30×30 pool does not fit a map of 28×28"),
        (lambda: ChainConfig(input_shape=(2, 9, 1), convolutions=(ConvConfig(8),)),
         "a 3×3 kernel with a 1×1 pool does not fit a map of 2×9"),
        (lambda: ChainConfig(input_shape=(1024, 1025, 1), convolutions=(ConvConfig(8),)),
         "an input must have at most 1048576 values, not 1049600"),
        (lambda: ChainConfig(convolutions=(ConvConfig(256),)),
         "dense layers must have 1 to 65536 values, not 173056"),
        (lambda: ChainConfig(pixels=PIXELS), "an integer first layer must be a convolution"),
        (lambda: conv_config(Method.SIGN, pixels=IntegerPixels((0.1, 0.2), (1.0,))),
         "mean and deviation must have 1 channels, not 2 and 1"),
        (lambda: conv_config(Method.SIGN, score_bits=0),
         "integer weights must have 1 to 16 bits, not 0"),
        (lambda: IntegerPixels((0.5,), (0.5,), bits=17),
         "integer weights must have 1 to 16 bits, not 17"),
        (lambda: IntegerPixels((1.5,), (0.5,)),
         "the means of pixels must be from 0 to 1, not (1.5,)"),
        (lambda: IntegerPixels((0.5,), (0.0,)),
         "the deviations of pixels must be from 0.00390625 to 1, not (0.0,)"),
    ],
)  # fmt: skip
def test_refuses_convolutions_out_of_range(make, message):
    with pytest.raises(NetworkError, match=rf"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": (64, 0)}, "layers must have 1 to 65536 values, not 0$"),
        ({"hidden": (1 << 17,)}, "must have 1 to 65536 values, not 131072$"),
        ({"hidden": (64,), "input_shape": (28, 28)}, r"width and channels, not \(28, 28\)$"),
        ({"hidden": (64,), "input_shape": (28, -1, -1)}, r"channels, not \(28, -1, -1\)$"),
        ({"hidden": (64,), "classes": 1}, "^there must be 2 to 65536 classes, not 1$"),
    ],
)
def test_refuses_sizes_out_of_range(options, message):
    with pytest.raises(NetworkError, match=message):
        ChainConfig(**options)
