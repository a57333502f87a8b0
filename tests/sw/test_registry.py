"""Models that have a name: what there is, that all of it is lowered, and what is refused."""

import pytest
import torch

from tests.sw.test_frontend import randomise
from xnorflow.ir import FeatureMap, Int, UInt
from xnorflow.sw.compare import compare
from xnorflow.sw.data import Dataset
from xnorflow.sw.lower import lower
from xnorflow.sw.models import NAMED, Task
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.spec import ModelSpec


COLOURED = {"cnv", "vgg-small"}
PLAIN = {"tfc", "sfc", "lfc", "conv-s", "conv-m", "dscnn", *COLOURED}
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


@pytest.mark.parametrize("method", Method)
def test_signals_are_lowered(method):
    mean, deviation = Dataset.HAR.normalisation
    torch.manual_seed(1)
    task = Task((6, 1, 36), 5, IntegerPixels(mean, deviation))
    spec = ModelSpec("dscnn", task, {"method": method.value, "width": 0.1, "blocks": 2})
    model = randomise(spec.build(), 1).double().eval()
    assert {module.weight.shape[2:] for module in model if hasattr(module, "padding")} == {
        (1, 9), (1, 1),
    }  # fmt: skip
    values = Dataset.HAR.quantisation
    network = lower(model, input=FeatureMap(1, 36, 6, Int(8)), quantisation=values)
    windows = torch.randint(-128, 128, (20, 1, 36, 6), dtype=torch.int8)
    report = compare(model, network, windows)
    assert report.differing == 0, str(report)
    assert len(report.layers) == 5  # bits of each binary layer


def test_pixels_without_statistics_have_a_threshold():
    model = NAMED["cnv"](Task((3, 32, 32), 10), width=0.125)
    assert "conv1.activation_quantiser.level" in model.state_dict()
