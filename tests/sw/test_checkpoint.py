import json
import re

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorflow.errors import FormatError
from xnorflow.ir import Provenance
from xnorflow.sw.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from xnorflow.sw.models.chain import Chain, ChainConfig, ConvConfig, Method
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.conv import Border
from xnorflow.sw.nn.dynamic import HyperConfig
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.unit import Shortcut
from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import (
    ResidualConfig,
    ResidualMethod,
    StemConfig,
    UnitConfig,
    UnitForm,
)


def example(method=Method.ADABIN):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Chain(ChainConfig((8, 6), method, input_shape=(4, 5, 1), classes=3))
        model(torch.rand(10, 4, 5, 1) * 255)
    return Checkpoint(model.eval(), Provenance("mnist", "mlp", "adabin", "test", 1, 2, 0.5))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(example(), path)
    return path


def rewrite(path, change_header=None, change_state=None):
    """Change the JSON header or the tensors of a checkpoint."""
    state = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["xnorflow"])
    (change_header or (lambda _: None))(header)
    (change_state or (lambda _: None))(state)
    path.write_bytes(safetensors.torch.save(state, {"xnorflow": json.dumps(header)}))


@pytest.mark.parametrize("method", Method)
def test_comes_back_as_it_was(tmp_path, method):
    checkpoint = example(method)
    save_checkpoint(checkpoint, tmp_path / "model")
    again = load_checkpoint(tmp_path / "model")
    assert again.provenance == checkpoint.provenance
    assert again.model.config == checkpoint.model.config
    assert not again.model.training
    frames = torch.arange(40.0).reshape(2, 4, 5, 1) * 6
    assert torch.equal(again.model(frames), checkpoint.model(frames))
    # It can be trained further.
    again.model.train()(frames).sum().backward()


def convolutional():
    config = ChainConfig(
        (8,),
        Method.ADABIN,
        (6, 5, 1),
        3,
        (ConvConfig(4, padding=1, pool=2), ConvConfig(2, 1)),
        Border.LOWER,
        IntegerPixels((0.5,), (0.25,), 4),
        6,
    )
    return Checkpoint(Chain(config).eval(), Provenance())


def test_convolutions_come_back_as_they_were(tmp_path):
    checkpoint = convolutional()
    save_checkpoint(checkpoint, tmp_path / "model")
    again = load_checkpoint(tmp_path / "model")
    assert again.model.config == checkpoint.model.config
    frames = torch.arange(60.0).reshape(2, 6, 5, 1) * 4
    assert torch.equal(again.model(frames), checkpoint.model(frames))


def residual(grid=Grid(12, 5), method=ResidualMethod.REACTNET, **changes):  # noqa: B008
    options = {
        "stem": StemConfig(4),
        "units": (UnitConfig(4), UnitConfig(6, stride=2)),
        "pixels": IntegerPixels((0.5,), (0.25,)),
        "shortcut": Shortcut.AVERAGE,
        "input_shape": (4, 6, 1),
        "classes": 3,
        "grid": grid,
    }
    config = ResidualConfig(method, **options | changes)
    return Checkpoint(Residual(config).eval(), Provenance("cifar10"))


FORMS = [
    {},
    {"form": UnitForm.CLASSIC, "shortcut": Shortcut.BINARY},
    {"units": (UnitConfig(4), UnitConfig(8, 2, 1)), "shortcut": Shortcut.REPEAT},
    {"stem": StemConfig(4, 7, 2, activated=False, pooled=True), "shortcut": Shortcut.PAD},
    {"hyper": HyperConfig(ratio=1, bits=6)},
]


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        (method, changes)
        for method in ResidualMethod
        for changes in FORMS
        if not (method.dynamic and "form" in changes)
    ],
)
@pytest.mark.parametrize("grid", [None, Grid(12, 5)])
def test_residual_models_come_back_as_they_were(tmp_path, grid, method, changes):
    checkpoint = residual(grid, method, **changes)
    save_checkpoint(checkpoint, tmp_path / "model")
    again = load_checkpoint(tmp_path / "model")
    assert again.model.config == checkpoint.model.config
    assert again.provenance == checkpoint.provenance
    frames = torch.arange(48.0).reshape(2, 4, 6, 1) * 5
    assert torch.equal(again.model(frames), checkpoint.model(frames))


def test_what_is_not_learned_stays_so(tmp_path):
    checkpoint = residual()
    fixed = {name for name, p in checkpoint.model.named_parameters() if not p.requires_grad}
    save_checkpoint(checkpoint, tmp_path / "model")
    again = load_checkpoint(tmp_path / "model").model
    assert fixed
    assert {name for name, p in again.named_parameters() if not p.requires_grad} == fixed


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("stem",), 4, "its configuration has missing or unknown fields"),
        (("stem", "channels"), 0, "the channels of a first layer must be from 1 to 4096, not 0"),
        (("stem", "stride"), True, "its configuration has a wrong value"),
        (("stem", "pooled"), 1, "its configuration has a wrong value"),
        (("stem", "activated"), False, "its tensors do not fit its configuration"),
        (("form",), "square", "its configuration has a wrong value"),
        (("form",), "classic", "its tensors do not fit its configuration"),
        (("units",), {}, "its configuration has a wrong value"),
        (("units", 0, "stride"), 3, "the stride of a unit must be 1 or 2, not 3"),
        (("units", 0, "side"), 3, "its configuration has missing or unknown fields"),
        (("units", 1, "channels"), 8, "its tensors do not fit its configuration"),
        (("grid", "bits"), 1, "the bits of the residual stream must be from 2 to 24, not 1"),
        (("grid",), [], "its configuration has missing or unknown fields"),
        (
            ("hyper", "bits"),
            13,
            "the bits of a hyper function's weights must be from 4 to 12, not 13",
        ),
        (("hyper", "ratio"), 1.5, "its configuration has a wrong value"),
        (("hyper",), None, "its configuration has missing or unknown fields"),
        (("shortcut",), "none", "its configuration has a wrong value"),
        (("method",), "sign", "its configuration has a wrong value"),
    ],
)
def test_refuses_a_wrong_residual_model(tmp_path, place, value, message):
    path = tmp_path / "model"
    save_checkpoint(residual(), path)
    rewrite(path, change_header=change("config", *place, to=value))
    expected = re.escape(f"{path} is not a valid checkpoint: {message}")
    with pytest.raises(FormatError, match=f"^{expected}$"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("convolutions",), {}, "its configuration has a wrong value"),
        (("convolutions", 0), 3, "its configuration has missing or unknown fields"),
        (("convolutions", 0, "groups"), 3, "its configuration has missing or unknown fields"),
        (("convolutions", 0, "stride"), 1.5, "its configuration has a wrong value"),
        (("convolutions", 0, "kernel"), 2, "a kernel's side must be 1, 3, 5 or 7, not 2"),
        (("convolutions", 0, "channels"), 5, "its tensors do not fit its configuration"),
        (("border",), "mirror", "its configuration has a wrong value"),
        (("pixels",), [], "its configuration has missing or unknown fields"),
        (("pixels", "mean"), [1], "its configuration has a wrong value"),
        (("pixels", "deviation"), "0.5", "its configuration has a wrong value"),
        (
            ("pixels", "deviation"),
            [float("nan")],
            "the deviations of pixels must be from 0.00390625 to 1, not (nan,)",
        ),
        (("score_bits",), True, "its configuration has a wrong value"),
    ],
)
def test_refuses_a_wrong_convolution(tmp_path, place, value, message):
    path = tmp_path / "model"
    save_checkpoint(convolutional(), path)
    rewrite(path, change_header=change("config", *place, to=value))
    expected = re.escape(f"{path} is not a valid checkpoint: {message}")
    with pytest.raises(FormatError, match=f"^{expected}$"):
        load_checkpoint(path)


def test_equal_checkpoints_are_equal_files(tmp_path):
    for name in ("first", "second"):
        save_checkpoint(example(), tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_only_float32_is_written(tmp_path):
    checkpoint = example()
    checkpoint.model.double()
    with pytest.raises(ValueError, match=r"^a checkpoint must be in float32, not torch\.float64$"):
        save_checkpoint(checkpoint, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def change(*path, to):
    def change_header(header):
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = to

    return change_header


@pytest.mark.parametrize(
    ("change_header", "message"),
    [
        (change("version", to=4), "its version is 4, and only version 3 is known"),
        (change("version", to=1), "its version is 1, and only version 3 is known"),
        (change("version", to=None), "it does not say its version"),
        (change("version", to=True), "it does not say its version"),
        (change("model", to="resnet"), "it holds no model of a known kind"),
        (change("config", to=[]), "its configuration has missing or unknown fields"),
        (change("config", "depth", to=3), "its configuration has missing or unknown fields"),
        (change("config", "method", to="ternary"), "its configuration has a wrong value"),
        (change("config", "hidden", to=[8, 6.0]), "its configuration has a wrong value"),
        (change("config", "hidden", to=8), "its configuration has a wrong value"),
        (change("config", "input_shape", to=[4, 5]), "its configuration has a wrong value"),
        (change("config", "classes", to=1), "there must be 2 to 65536 classes, not 1"),
        (change("config", "classes", to=4), "its tensors do not fit its configuration"),
        (change("config", "hidden", to=[1 << 16] * 2), "its tensors do not fit its configuration"),
        (
            change("config", "hidden", to=[1 << 40] * 2),
            "dense layers must have 1 to 65536 values, not 1099511627776",
        ),
        (change("config", "hidden", to=[1] * 10**4), "its tensors do not fit its configuration"),
        (change("provenance", to={}), "its provenance has missing or unknown fields"),
        (
            change("provenance", "epochs", to="many"),
            "provenance: epochs must be an integer from 0 to 9223372036854775807, not 'many'",
        ),
    ],
)
def test_refuses_a_wrong_header(path, change_header, message):
    rewrite(path, change_header=change_header)
    expected = re.escape(f"{path} is not a valid checkpoint: {message}")
    with pytest.raises(FormatError, match=f"^{expected}$"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change_state", "message"),
    [
        (lambda state: state.pop("norms.0.bias"), "its tensors do not fit its configuration"),
        (
            lambda state: state.update(extra=torch.zeros(3)),
            "its tensors do not fit its configuration",
        ),
        (
            lambda state: state.update({"norms.0.bias": torch.zeros(8, dtype=torch.float64)}),
            "its tensors do not fit its configuration",
        ),
        (
            lambda state: state["norms.0.bias"].fill_(torch.nan),
            "it has parameters that are not finite",
        ),
    ],
)
def test_refuses_wrong_tensors(path, change_state, message):
    rewrite(path, change_state=change_state)
    with pytest.raises(FormatError, match=f"not a valid checkpoint: {message}$"):
        load_checkpoint(path)


def test_refuses_polarities_between(tmp_path):
    path = tmp_path / "model"
    save_checkpoint(residual(method=ResidualMethod.SIMAN), path)
    name = "units.1.conv.conv.activation_quantiser.polarity"
    rewrite(path, change_state=lambda state: state[name][2].fill_(0.5))
    with pytest.raises(FormatError, match=r"it has polarities that are neither -1 nor 1$"):
        load_checkpoint(path)


def test_refuses_foreign_files(path):
    contents = {
        b"": "it is damaged, or not a safetensors file at all",
        b"PK\x03\x04 a zip archive, as torch.save writes it": "it is damaged, or not a safetensors",
        safetensors.torch.save({"x": torch.zeros(1)}): "safetensors file with other content",
        safetensors.torch.save({"x": torch.zeros(1)}, {"xnorflow": "[]"}): "with other content",
        safetensors.torch.save({"x": torch.zeros(1)}, {"xnorflow": "{"}): "with other content",
    }
    for content, message in contents.items():
        path.write_bytes(content)
        with pytest.raises(FormatError, match=message):
            load_checkpoint(path)


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(FormatError, match=r"nothing cannot be read: No such file or directory$"):
        load_checkpoint(tmp_path / "nothing")


@settings(max_examples=40)
@given(data=st.data())
def test_any_damage_is_a_format_error_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "model"
    save_checkpoint(example(), path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        del content[data.draw(st.integers(0, len(content) - 1), label="length") :]
    else:
        # Mostly the header, which is where structure can break.
        place = data.draw(st.integers(0, 1500), label="place")
        content[place] ^= data.draw(st.integers(1, 255), label="change")
    path.write_bytes(content)
    try:
        checkpoint = load_checkpoint(path)
    except FormatError:
        return
    assert len(content) == len(path.read_bytes())
    assert checkpoint.model(torch.zeros(1, 4, 5, 1)).shape[0] == 1
