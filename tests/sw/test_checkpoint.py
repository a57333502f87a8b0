import json
import re
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.training import untrained
from xnorflow.errors import FormatError
from xnorflow.ir import FeatureMap, Int, Provenance, Quantisation
from xnorflow.sw.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid


PIXELS = IntegerPixels((0.5,), (0.25,), 4)


def example(method=Method.ADABIN):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        options = {"hidden": (8, 6), "method": method.value}
        checkpoint = untrained(ModelSpec("mlp", Task((1, 4, 5), 3), options))
        checkpoint.model.train()(torch.rand(10, 1, 4, 5) * 255)
    checkpoint.model.eval()
    return replace(checkpoint, provenance=Provenance("mnist", "mlp", "adabin", "test", 1, 2, 0.5))


def convolutional():
    options = {
        "convs": [[4, 3, 1, 1, 2], [2, 1]], "hidden": [8], "border": "lower", "score_bits": 6,
        "method": "adabin",
    }  # fmt: skip
    return untrained(ModelSpec("conv-net", Task((1, 6, 5), 3, PIXELS), options))


def residual(grid=Grid(12, 5), method=ResidualMethod.REACTNET, **changes):  # noqa: B008
    options = {"first": {"channels": 4}, "blocks": [[4, 1, 3], [6, 2, 3]], "shortcut": "average"}
    options |= {"method": method.value} | changes
    checkpoint = untrained(ModelSpec("residual", Task((1, 4, 6), 3, PIXELS), options), grid)
    return replace(checkpoint, provenance=Provenance("cifar10"))


FORMS = [
    {},
    {"classic": True, "shortcut": "binary"},
    {"blocks": [[4, 1, 3], [8, 2, 1]], "shortcut": "repeat"},
    {
        "first": {"channels": 4, "kernel": 7, "stride": 2, "activated": False, "pooled": True},
        "shortcut": "pad",
    },
    {"hyper": [1, 6]},
]


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


def check_comes_back(checkpoint, path):
    save_checkpoint(checkpoint, path)
    again = load_checkpoint(path)
    for what in ("spec", "grid", "frame", "labels", "provenance", "quantisation"):
        assert getattr(again, what) == getattr(checkpoint, what), what
    assert not again.model.training
    channels, height, width = checkpoint.spec.task.shape
    frames = torch.arange(2.0 * channels * height * width).view(2, channels, height, width) * 4
    assert torch.equal(again.model(frames), checkpoint.model(frames))
    # It can be trained further.
    again.model.train()(frames).sum().backward()


@pytest.mark.parametrize("method", Method)
def test_comes_back_as_it_was(tmp_path, method):
    check_comes_back(example(method), tmp_path / "model")


def test_convolutions_come_back_as_they_were(tmp_path):
    check_comes_back(convolutional(), tmp_path / "model")


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        (method, changes)
        for method in ResidualMethod
        for changes in FORMS
        if not (method.dynamic and "classic" in changes)
    ],
)
@pytest.mark.parametrize("grid", [None, Grid(12, 5)])
def test_residual_models_come_back_as_they_were(tmp_path, grid, method, changes):
    check_comes_back(residual(grid, method, **changes), tmp_path / "model")


def test_a_module_of_ones_own_comes_back_into_one(tmp_path):
    model, other = (nn.Sequential(nn.Flatten(), nn.Linear(6, 2)).eval() for _ in range(2))
    frame = FeatureMap(2, 3, 1, Int(5))
    own = Checkpoint(model, frame, ("no", "yes"), Provenance(), Quantisation(scale=0.5))
    save_checkpoint(own, tmp_path / "model")
    with pytest.raises(FormatError, match=r"it is of a module of one's own, which must be given$"):
        load_checkpoint(tmp_path / "model")
    again = load_checkpoint(tmp_path / "model", other)
    assert (again.frame, again.labels, again.spec) == (frame, ("no", "yes"), None)
    assert again.quantisation == own.quantisation
    assert torch.equal(other[1].weight, model[1].weight)


def test_a_named_model_needs_no_module(path):
    with pytest.raises(FormatError, match=r"it brings its own model$"):
        load_checkpoint(path, nn.Flatten())


def test_what_is_not_learned_stays_so(tmp_path):
    checkpoint = residual(method=ResidualMethod.SIMAN)
    fixed = {name for name, p in checkpoint.model.named_parameters() if not p.requires_grad}
    save_checkpoint(checkpoint, tmp_path / "model")
    again = load_checkpoint(tmp_path / "model").model
    assert fixed
    assert {name for name, p in again.named_parameters() if not p.requires_grad} == fixed


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


CHANGES = [
    (residual, "model.options.first", 4, "its configuration has a wrong value"),
    (residual, "model.options.first.channels", 0, "out_channels must be an integer of at least 1"),
    (residual, "model.options.first.stride", True, "stride must be an integer of at least 1, not"),
    (residual, "model.options.shortcut", "none", "'none' is not a shortcut: choose from pad"),
    (residual, "model.options.classic", True, "its tensors do not fit its configuration"),
    (residual, "model.options.blocks.1.0", 8, "its tensors do not fit its configuration"),
    (residual, "model.options.blocks.1.1", 3, "the stride of a block must be 1 or 2, not 3"),
    (residual, "model.options.hyper", [2, 13], "the bits of a hyper function's weights must be"),
    (residual, "model.options.method", "sign", "'sign' is not a method of residual: choose from"),
    (residual, "model.options.depth", 3, "residual cannot be made of these options: got an unex"),
    (residual, "grid.bits", 1, "the bits of the residual stream must be from 2 to 24, not 1"),
    (residual, "grid", [], "its configuration has a wrong value"),
    (convolutional, "model.options.convs.0", 3, "its configuration has a wrong value"),
    (convolutional, "model.options.convs.0.2", 1.5, "stride must be an integer of at least 1"),
    (convolutional, "model.options.convs.0.0", 5, "its tensors do not fit its configuration"),
    (convolutional, "model.options.border", "mirror", "'mirror' is not a border: choose from"),
    (convolutional, "model.options.score_bits", 99, "integer weights must have 1 to 16 bits, "),
    (convolutional, "model.task.pixels", [], "its configuration has a wrong value"),
    (convolutional, "model.task.pixels.deviation", [float("nan")], "the deviations of pixels mus"),
    (example, "version", 5, "its version is 5, and only 3 and 4 are known"),
    (example, "version", 1, "its version is 1, and only 3 and 4 are known"),
    (example, "version", None, "it does not say its version"),
    (example, "version", True, "it does not say its version"),
    (example, "extra", 3, "its header has missing or unknown fields"),
    (example, "model.name", "resnet", "'resnet' is not a model: choose from tfc"),
    (
        example,
        "model.options.hidden",
        [8, 6.0],
        "the neurons of a hidden layer must be an integer of at least 1",
    ),
    (example, "model.options.hidden", [1 << 16] * 2, "its tensors do not fit its configuration"),
    (example, "model.options.hidden", [1 << 40] * 2, "its configuration has a wrong value"),
    (example, "model.options.hidden", [1] * 10**4, "its tensors do not fit its configuration"),
    (example, "model.task.shape", [4, 5], "an image must have channels, a height and a width"),
    (example, "model.task.classes", 4, "its input or its labels do not fit its model"),
    (example, "labels", ["a"], "its input or its labels do not fit its model"),
    (example, "input.0", 9, "its input or its labels do not fit its model"),
    (example, "provenance", {}, "its provenance has missing or unknown fields"),
    (example, "provenance.epochs", "many", "provenance: epochs must be an integer from 0 to"),
]


@pytest.mark.parametrize(("make", "place", "value", "message"), CHANGES)
def test_refuses_a_wrong_header(tmp_path, make, place, value, message):
    path = tmp_path / "model"
    save_checkpoint(make(), path)
    keys = [int(key) if key.isdecimal() else key for key in place.split(".")]
    rewrite(path, change_header=change(*keys, to=value))
    expected = re.escape(f"{path} is not a valid checkpoint: {message}")
    with pytest.raises(FormatError, match=f"^{expected}"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change_state", "message"),
    [
        (lambda s: s.pop("norm1.bias"), "its tensors do not fit its configuration"),
        (lambda s: s.update(extra=torch.zeros(3)), "its tensors do not fit its configuration"),
        (lambda s: s.update({"norm1.bias": torch.zeros(8).double()}), "its tensors do not fit"),
        (lambda s: s["norm1.bias"].fill_(torch.nan), "it has parameters that are not finite"),
    ],
)
def test_refuses_wrong_tensors(path, change_state, message):
    rewrite(path, change_state=change_state)
    with pytest.raises(FormatError, match=f"not a valid checkpoint: {message}"):
        load_checkpoint(path)


def test_refuses_polarities_between(tmp_path):
    path = tmp_path / "model"
    save_checkpoint(residual(method=ResidualMethod.SIMAN), path)
    name = "blocks.1.conv.activation_quantiser.polarity"
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
    assert checkpoint.model(torch.zeros(1, 1, 4, 5)).shape[0] == 1
