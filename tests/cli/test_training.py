"""Commands for models in PyTorch, as a user types them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.onnx_models import Builder
from tests.sw.test_adabin_import import release
from xnorflow.ir.xnf import load
from xnorflow.sw.checkpoint import load_checkpoint
from xnorflow.sw.data import ImageData, published


def test_train_and_lower(cli, mnist):
    code, out, _ = cli("train", "-o", "run", "--hidden", "16,8", "--epochs", 1)
    assert code == 0
    assert "the model is in run/model.safetensors" in out
    code, out, _ = cli("lower", "run/model.safetensors", "-o", "mine.xnf", "--data", "mnist")
    assert code == 0
    assert "fc3_bits: 0 of 80,000 values differ" in out
    assert load("mine.xnf").provenance.epochs == 1
    code, out, _ = cli("eval", "mine.xnf", "--data", "mnist")
    assert code == 0
    assert "accuracy: " in out


@pytest.fixture
def cifar(monkeypatch):
    """A few random images in place of CIFAR-10."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 32, 32, 3), np.uint8), rng.integers(0, 10, 40)
    images, labels = torch.tensor(images), torch.tensor(labels)
    classes = tuple("abcdefghij")
    found = ImageData("cifar10", images[:32], labels[:32], images[32:], labels[32:], classes)
    monkeypatch.setattr(published, "load", lambda _: found)
    return found


def test_import_measures_and_writes_a_network(cli, cifar, tmp_path):
    release(tmp_path / "release.th")
    arguments = "release.th", "-o", "net.xnf", "--limit", 4, "--bits", 17
    code, out, _ = cli("import", "adabin-resnet20", *arguments)
    assert code == 0
    assert "of 4 test images are right" in out
    assert "in integers of 17 bits, 10 of them fractional" in out
    assert load(tmp_path / "net.xnf").maps["blocks_17_act"].shape == (8, 8, 64)


def test_training_images_choose_the_bits_of_an_import(cli, cifar, tmp_path, monkeypatch):
    def look(model, frame, images, grid):
        assert torch.equal(images, cifar.train_images)
        return replace(grid, bits=15)

    release(tmp_path / "release.th")
    monkeypatch.setattr("xnorflow.sw.adabin_import.calibrate", look)
    arguments = "release.th", "-o", "net.xnf", "--limit", 1, "--fraction", 8
    code, out, _ = cli("import", "adabin-resnet20", *arguments)
    assert code == 0
    assert "in integers of 15 bits, 8 of them fractional" in out


def test_training_goes_on_from_an_import(cli, cifar, tmp_path):
    release(tmp_path / "release.th")
    arguments = "release.th", "-o", "start.safetensors", "--limit", 1
    assert cli("import", "adabin-resnet20", *arguments, "--bits", 12, "--fraction", 6)[0] == 0
    arguments = "--from", "start.safetensors", "--data", "cifar10", "--epochs", 1
    code, out, _ = cli("train", "-o", "runs", *arguments)
    assert code == 0
    assert "of the test images are right" in out
    grid = load_checkpoint(tmp_path / "runs" / "model.safetensors").grid
    assert (grid.bits, grid.fraction) == (12, 6)


def test_training_goes_on_from_a_network(cli, mnist, tmp_path):
    options = "--hidden", "8,8", "--epochs", 1
    assert cli("train", "-o", "first", *options)[0] == 0
    assert cli("lower", "first/model.safetensors", "-o", "net.xnf")[0] == 0
    code, out, _ = cli("train", "tfc", "-o", "second", "--from", "net.xnf", *options)
    assert code == 0
    assert "of the test images are right" in out
    made = load_checkpoint(tmp_path / "second" / "model.safetensors").provenance
    assert made.recipe == "mlp-longer"
    code, _, error = cli("train", "-o", "third", "--from", "net.xnf")
    assert code == 1
    assert "which model is net.xnf?" in error


def test_import_reads_an_onnx_file(cli, tmp_path):
    b = Builder(1, 4, 4, 1)
    b.then("Flatten")
    b.then("BipolarQuant", 1.0)
    b.then("Gemm", b.weights(3, 16), transB=1)
    b.then("Softmax")
    b.save(tmp_path / "net.onnx")
    code, out, _ = cli("import", "qonnx", "net.onnx", "-o", "net.xnf", "--scale", "1/255")
    assert code == 0
    assert "note: Softmax_4 (Softmax) is left out" in out
    assert "it takes frames of 4×1×4 and gives 3 scores" in out
    assert load("net.xnf").name == "net"
    for options, text in (
        ((), "does not say what values its input x has"),
        (("--scale", "a"), "'a' is no number such as 1 or 1/255"),
        (("--bits", 8), "--bits is not for ONNX files"),
    ):
        code, _, err = cli("import", "qonnx", "net.onnx", "-o", "net.xnf", *options)
        assert (code, err.count("\n")) == (1, 1)
        assert text in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("finn-cnv", "a.th", "-o", "a.xnf"), "'finn-cnv' cannot be imported"),
        (("qonnx", "a.onnx", "-o", "a.safetensors"), "must end in .xnf, not 'a.safetensors'"),
        (("adabin-resnet20", "a.th", "-o", "a.xnf", "--scale", "1"), "--scale is for ONNX files"),
        (("adabin-resnet20", "a.th", "-o", "a.pth"), "must end in .xnf or .safetensors"),
        (("adabin-resnet20", "a.th", "-o", "a.xnf"), "a.th"),
        (("adabin-resnet20", "a.th", "-o", "a.xnf", "--bits", 99), "from 2 to 24, not 99"),
    ],
)
def test_import_refuses_in_one_sentence(cli, arguments, text):
    code, out, err = cli("import", *arguments)
    assert (code, out) == (1, "")
    assert text in err
    assert err.count("\n") == 1
