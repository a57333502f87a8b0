import re

import pytest
import torch
from torch.nn import functional

from xnorflow.errors import FormatError
from xnorflow.sw import adabin_import
from xnorflow.sw.adabin_import import PIXELS, import_adabin_resnet20, in_real_numbers
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import ResidualMethod
from xnorflow.sw.residual_names import NamedResidual


def release(path, change=None):
    """A file with the names of the authors' checkpoint, and the model in it."""
    torch.manual_seed(0)
    pixels = IntegerPixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), bits=12)
    model = Residual(NamedResidual.RESNET20.config(ResidualMethod.ADABIN, pixels)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand(parameter.shape))
    state = {f"module.{adabin_import._their_name(n)}": v for n, v in model.state_dict().items()}
    (change or (lambda _: None))(state)
    torch.save({"state_dict": state, "best_prec1": 88.0}, path)
    return model


def test_parameters_arrive_where_they_belong(tmp_path):
    model = release(tmp_path / "release.th")
    found = import_adabin_resnet20(tmp_path / "release.th")
    assert not found.training
    assert found.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_real_numbers_are_real_in_the_first_layer_too(tmp_path):
    imported = release(tmp_path / "release.th")
    real = in_real_numbers(imported).double()
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    mean, deviation = (torch.tensor(values) for values in (PIXELS.mean, PIXELS.deviation))
    pixels = ((images / 255 - mean) / deviation).double().permute(0, 3, 1, 2)
    norm = real.stem.norm
    sums = functional.conv2d(pixels, imported.stem.conv.weight.double(), padding=1)
    expected = norm(sums)
    with torch.no_grad():
        torch.testing.assert_close(real.trace(images)["stem_norm"], expected, rtol=1e-5, atol=1e-4)
        assert not torch.allclose(imported.trace(images)["stem_norm"].double(), expected, atol=1e-4)


def test_names_are_the_authors():
    """Some of the names of the released file, as they are in it."""
    names = {
        "stem.conv.weight": "conv1.weight",
        "stem.norm.running_var": "bn1.running_var",
        "stem_slopes.negative": "nonlinear1.neg_scale",
        "units.0.conv.conv.weight": "layer1.0.conv1.weight",
        "units.3.conv.norm.bias": "layer1.1.bn2.bias",
        "units.6.conv.conv.activation_quantiser.alpha": "layer2.0.conv1.binary_a.alpha_a",
        "units.17.conv.conv.activation_quantiser.beta": "layer3.2.conv2.binary_a.beta_a",
        "units.17.slopes.positive": "layer3.2.nonlinear2.pos_scale",
        "classifier.norm.weight": "bn2.weight",
        "classifier.dense.bias": "linear.bias",
    }
    assert {name: adabin_import._their_name(name) for name in names} == names


class Code:
    """What a hostile pickle could hold."""

    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("module.bn2.weight"), "it lacks bn2.weight of shape (64,)"),
        (
            lambda s: s.update({"module.linear.bias": torch.zeros(3)}),
            "it lacks linear.bias of shape (10,)",
        ),
        (
            lambda s: s.update({"module.bn1.weight": torch.full((16,), float("nan"))}),
            "bn1.weight has values that are not finite",
        ),
        (lambda s: s.update({"module.bn1.weight": Code()}), "is damaged, or not a PyTorch"),
    ],
)
def test_refuses_other_files(tmp_path, change, text):
    release(tmp_path / "release.th", change)
    with pytest.raises(FormatError, match=re.escape(text)):
        import_adabin_resnet20(tmp_path / "release.th")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"no checkpoint", b"a", b".", b"\x80", b"J\x01"]
)
def test_refuses_damaged_files(tmp_path, content):
    path = tmp_path / "release.th"
    path.write_bytes(content)
    text = f"{path} is damaged, or not a PyTorch file of weights"
    with pytest.raises(FormatError, match=f"^{re.escape(text)}$"):
        import_adabin_resnet20(path)
