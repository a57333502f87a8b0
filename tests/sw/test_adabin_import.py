import re
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from xnorflow.errors import FormatError
from xnorflow.sw import adabin_import
from xnorflow.sw.adabin_import import PIXELS, import_adabin_resnet20, in_floating_point
from xnorflow.sw.data import values_of
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec


SPEC = ModelSpec("resnet20", Task((3, 32, 32), 10, replace(PIXELS, bits=12)), {"method": "adabin"})


def release(path, change=None):
    """A file with the names of the authors' checkpoint, and the model in it."""
    torch.manual_seed(0)
    model = SPEC.build().eval()
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
    assert not found.model.training
    assert (found.spec, found.grid) == (SPEC, None)
    for name, value in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value), name


def test_floating_point_is_so_in_the_first_layer_too(tmp_path):
    imported = release(tmp_path / "release.th").double()
    model = in_floating_point(imported)
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    mean, deviation = (torch.tensor(values) for values in (PIXELS.mean, PIXELS.deviation))
    pixels = ((images / 255 - mean) / deviation).double().permute(0, 3, 1, 2)
    sums = functional.conv2d(pixels, imported.stem.conv.weight, padding=1)
    frames = values_of(images).double()
    with torch.no_grad():
        expected = model.stem.norm(sums)
        found, rounded = (each.stem.norm(each.stem.conv(frames)) for each in (model, imported))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(rounded, expected, atol=1e-4)


def test_names_are_the_authors():
    """Some of the names of the released file, as they are in it."""
    names = {
        "stem.conv.weight": "conv1.weight",
        "stem.norm.running_var": "bn1.running_var",
        "stem.act.negative": "nonlinear1.neg_scale",
        "blocks.0.conv.weight": "layer1.0.conv1.weight",
        "blocks.3.norm.bias": "layer1.1.bn2.bias",
        "blocks.6.conv.activation_quantiser.alpha": "layer2.0.conv1.binary_a.alpha_a",
        "blocks.17.conv.activation_quantiser.beta": "layer3.2.conv2.binary_a.beta_a",
        "blocks.17.act.positive": "layer3.2.nonlinear2.pos_scale",
        "norm.weight": "bn2.weight",
        "fc.bias": "linear.bias",
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
