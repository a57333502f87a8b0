"""Models that have a name: what there is, that all of it is lowered, and what is refused."""

import pytest
import torch

from tests.residuals import PIXELS, scrambled
from tests.sw.test_frontend import randomise
from xnorflow.errors import NetworkError
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.compare import compare
from xnorflow.sw.lower import lower
from xnorflow.sw.models import NAMED, Task
from xnorflow.sw.models.blocks import Family
from xnorflow.sw.models.cnv import Conv, ConvNet
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.models.mlp import MLP
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.spec import ModelSpec


COLOURED = {"cnv", "vgg-small"}
PLAIN = {"tfc", "sfc", "lfc", "conv-s", "conv-m", *COLOURED}
RESIDUAL = {
    "resnet8", "resnet18", "resnet18-classic", "resnet18-imagenet", "resnet20", "reactnet-a",
    "reactnet-a-imagenet",
}  # fmt: skip


def test_all_models_have_names():
    assert set(NAMED) == PLAIN | RESIDUAL | {"mlp", "conv-net", "residual"}
    assert len(NAMED) == len(set(NAMED))
    with pytest.raises(KeyError):
        NAMED["lenet"]


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("name", sorted(PLAIN))
def test_models_without_shortcuts_are_lowered(name, method):
    shape = (3, 32, 32) if name in COLOURED else (1, 28, 28)
    pixels = IntegerPixels((0.43,) * shape[0], (0.25,) * shape[0])
    torch.manual_seed(1)
    spec = ModelSpec(
        name,
        Task(shape, 10, pixels),
        {"method": method.value, "width": 0.125 if name in COLOURED else 0.25},
    )
    model = randomise(spec.build(), 1).double().eval()
    channels, height, width = shape
    network = lower(model, input=FeatureMap(height, width, channels, UInt(8)))
    images = torch.randint(0, 256, (20, height, width, channels), dtype=torch.uint8)
    report = compare(model, network, images)
    assert report.differing == 0, str(report)
    layers = sum(key.endswith(".weight") for key in model.state_dict() if "norm" not in key)
    assert len(report.layers) >= layers - 1


def test_equal_specs_build_equal_models():
    """As files keep them, too: tuples are lists there."""
    task = Task((3, 8, 8), 3, PIXELS)
    options = {"first": {"channels": 4}, "blocks": ((4, 1, 3),)}
    spec = ModelSpec("residual", task, options)
    assert spec == ModelSpec("residual", task, {**options, "blocks": [[4, 1, 3]]})
    states = [scrambled(spec, 3).state_dict() for _ in range(2)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert spec.method == "adabin"
    assert spec.with_method("siman").method == "siman"


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("lenet", {}, "^'lenet' is not a model: choose from tfc, "),
        ("tfc", {"depth": 3}, "^tfc cannot be made of these options: got an unexpected keyword"),
        ("mlp", {}, "^mlp cannot be made of these options: missing a required argument: 'hidden'"),
        ("tfc", {"method": "reactnet"}, "^'reactnet' is not a method of tfc: choose from sign, "),
    ],
)
def test_refuses_specs(name, options, match):
    with pytest.raises(NetworkError, match=match):
        ModelSpec(name, Task((1, 28, 28), 10), options)


def test_pixels_without_statistics_have_a_threshold():
    model = NAMED["cnv"](Task((3, 32, 32), 10), width=0.125)
    assert "conv1.activation_quantiser.level" in model.state_dict()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Task((28, 28), 10), r"^an image must have channels, a height and a width, not"),
        (lambda: Task((1, 28.0, 28), 10), r"^height must be an integer of at least 1, not 28\.0$"),
        (lambda: Task((1, 28, 28), 0), "^classes must be an integer of at least 1, not 0$"),
        (lambda: Task((1, 8, 8), 2, (0.5,)), r"^pixels must be an IntegerPixels, not \(0\.5,\)$"),
        (
            lambda: Task((1, 8, 8), 2, IntegerPixels((0.5,) * 3, (0.5,) * 3)),
            "^mean and deviation must have 1 channels, not 3 and 3$",
        ),
        (
            lambda: NAMED["resnet8"](Task((3, 32, 32), 2)),
            "^a residual model needs the mean and the standard deviation of pixels$",
        ),
        (lambda: Family("siman"), "^method must be a ResidualMethod, not 'siman'$"),
        (
            lambda: Family(ResidualMethod.SIMAN, "pad"),
            "^shortcut must be a Shortcut, not 'pad'$",
        ),
        (lambda: MLP(8, (4,), 2, method="sign"), "^method must be a Method, not 'sign'$"),
        (lambda: Conv(8, pool=2.0), r"^pool must be an integer of at least 1, not 2\.0$"),
        (lambda: Conv(8, padding=-1), "^padding must be an integer of at least 0, not -1$"),
        (
            lambda: ConvNet((1, 8, 8), [Conv(8, 5, pool=8)], (), 2),
            "^a 5×5 kernel with a 8×8 pool does not fit 8 rows or columns$",
        ),
        (
            lambda: ConvNet((1, 8, 8), [Conv(8)], (), 2, border="lower"),
            "^border must be a Border, not 'lower'$",
        ),
        (
            lambda: ModelSpec("conv-net", Task((1, 8, 8), 2), {"convs": [[]]}).build(),
            "^a convolution has channels, a kernel, a stride, a padding and a pool$",
        ),
        (
            lambda: ConvNet((1, 8, 8), [Conv(8)], (0,), 2),
            "^the neurons of a hidden layer must be an integer of at least 1, not 0$",
        ),
        (
            lambda: ConvNet((1, 8, 8), [Conv(8)], (), 2, method="sign"),
            "^method must be a Method, not 'sign'$",
        ),
    ],
)
def test_models_refuse_what_they_cannot_be_made_of(make, match):
    with pytest.raises(NetworkError, match=match):
        make()
