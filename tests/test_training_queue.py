"""The queue of the zoo: slices, what replaces what, and what is packed."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xnorflow.ir.xnf import load as load_network
from xnorflow.sw.data import Dataset, ImageData
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.queue_recipes import Machine, distilled, queue_recipe
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.training_state import OutOfTimeError


HELD_OUT = 100


class Brightest(torch.nn.Module):
    """Tells which rows are bright."""

    def forward(self, images):
        rows = images.mean(dim=(1, 3))
        return rows[:, 1:21:2] / 8


@pytest.fixture
def modules(monkeypatch):
    """The modules beside `zoo/make.py`, which finds them as a script does."""
    monkeypatch.syspath_prepend("zoo")
    import pack
    import results
    import training_queue

    return training_queue, results, pack


@pytest.fixture
def queue(modules, monkeypatch):
    """The queue's module, for images of ten classes that are learned in a moment."""
    module, _, _ = modules
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(600) % 10
    images = torch.randint(0, 100, (600, 28, 28, 1), dtype=torch.uint8, generator=generator)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 4] += 120
    parts = images[:500], labels[:500], images[500:], labels[500:]
    data = ImageData("mnist", *parts, Dataset.MNIST.classes)
    monkeypatch.setattr(module, "load", lambda _: data)
    recipe = Recipe("short", epochs=4, batch_size=40, measured=True)
    recipe = replace(distilled(recipe), views=1)
    monkeypatch.setattr(module, "queue_recipe", lambda *_: recipe)
    monkeypatch.setattr(module, "_teacher", lambda *_: Brightest())
    return module


def job(queue, name="net", seed=1):
    return queue.Job(name, queue.Entry(Dataset.MNIST, "tfc", Method.SIGN), seed)


def run(queue, folder, **options):
    return queue.Run(
        folder / "state", folder / "zoo", Machine.PROCESSOR, held_out=HELD_OUT, **options
    )


def test_slices_lead_to_the_same_network(queue, tmp_path, monkeypatch):
    queue.run_queue(run(queue, tmp_path / "whole"), (job(queue),))
    clock = iter(range(10**6))
    monkeypatch.setattr("xnorflow.sw.training_state.time.monotonic", lambda: next(clock))
    slices = 0
    while True:
        try:
            deadline = next(clock) + 14.0
            queue.run_queue(run(queue, tmp_path / "parts", deadline=deadline), (job(queue),))
            break
        except OutOfTimeError:
            slices += 1
    assert slices > 2
    whole, parts = (
        (tmp_path / folder / "zoo" / "net.xnf").read_bytes() for folder in ("whole", "parts")
    )
    assert whole == parts


def test_only_a_better_network_replaces_one(queue, tmp_path, monkeypatch):
    """By the images that were held back, which the first network says that it has not seen."""
    zoo, chosen = tmp_path / "zoo", run(queue, tmp_path)
    queue.run_queue(chosen, (job(queue),))
    card = (zoo / "net.md").read_text()
    assert "the first 400 training images" in card
    assert f"accuracy on the images held back, the last {HELD_OUT} |" in card
    first = (zoo / "net.xnf").read_bytes()

    monkeypatch.setattr(queue, "standing", lambda *_: 0.999999)
    queue.run_queue(chosen, (job(queue, seed=2),))
    monkeypatch.setattr(queue, "standing", lambda *_: 0.0)
    rows = json.loads((tmp_path / "state" / "results.json").read_text())
    assert [row["taken"] for row in rows.values()] == [True, rows["net.2"]["held_out"] > 0.999999]
    if not rows["net.2"]["taken"]:
        assert (zoo / "net.xnf").read_bytes() == first
        assert (tmp_path / "state" / "net.2" / "net.xnf").exists()
    queue.run_queue(chosen, (job(queue, seed=3),))
    assert (zoo / "net.xnf").read_bytes() != first
    assert load_network(zoo / "net.xnf").provenance.seed == 3


def test_a_network_that_knows_all_images_stands_by_its_card(queue, modules, tmp_path):
    _, results, _ = modules
    data, zoo = queue.load(Dataset.MNIST), tmp_path / "zoo"
    images, labels = data.train_images[-HELD_OUT:], data.train_labels[-HELD_OUT:]
    assert results.standing("net", zoo, images, labels) < 0
    queue.run_queue(run(queue, tmp_path), (job(queue),))
    found = json.loads((tmp_path / "state" / "results.json").read_text())["net.1"]["held_out"]
    assert results.standing("net", zoo, images, labels) == found
    (zoo / "net.md").write_text("| accuracy of the integer network | 12.34% |\n")
    assert results.standing("net", zoo, images, labels) == pytest.approx(0.1234)


def test_recipes_of_the_queue():
    for machine in Machine:
        for method in (Method.SIGN, Method.ADABIN):
            recipe = queue_recipe(machine, "cnv", method)
            assert recipe.temperature
            assert recipe.averaging
            assert recipe.mixed == (method is Method.SIGN)
    epochs = [queue_recipe(m, "resnet20", ResidualMethod.DYBNN).epochs for m in Machine]
    assert epochs == [400, 12]


@pytest.mark.slow
def test_parts_unpack_to_what_runs(modules, tmp_path, monkeypatch):
    _, _, pack = modules
    data = tmp_path / "cache" / "cifar10"
    data.mkdir(parents=True)
    for n in range(3):
        (data / f"{n}.bin").write_bytes(os.urandom(700_000))
    monkeypatch.setenv("XNORFLOW_DATA", str(data.parent))
    monkeypatch.setattr(pack, "_PACKAGES", ("safetensors",))
    parts = pack.pack(tmp_path / "parts", largest=2 << 20)
    assert len(parts) > 2
    assert all(path.stat().st_size <= 2 << 20 for path in parts)
    run = tmp_path / "run"
    for path in parts:
        with zipfile.ZipFile(path) as part:
            part.extractall(run)
    assert sorted(path.name for path in (run / "data/cifar10").iterdir()) == [
        "0.bin", "1.bin", "2.bin"
    ]  # fmt: skip
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    answer = subprocess.run(
        ["sh", str(run / "queue.sh"), "no-such-network"],
        env={"PATH": path, "HOME": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.stderr == "the queue has no no-such-network\n"
