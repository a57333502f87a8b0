import hashlib
import re
from pathlib import Path

import pytest

from xnorflow.ir.xnf import load as load_network
from xnorflow.sw.data import Dataset, fetch, load
from xnorflow.sw.golden import golden


ZOO = Path(__file__).parent.parent / "zoo"

NAMES = (
    "cifar10-cnv",
    "cifar10-resnet20-adabin",
    "cifar10-resnet20-dybnn",
    "cifar10-resnet20-reactnet",
    "cifar10-resnet20-siman",
    "cifar10-resnet20-siman-bipolar",
    "fashion-conv",
    "fashion-small-dybnn",
    "fashion-small-reactnet",
    "mnist-conv-up5k",
    "fashion-lfc-adabin",
    "mnist-tfc-sign",
    "mnist-tfc-adabin",
    "mnist-sfc-sign",
    "mnist-tfc-siman",
    "har-dscnn-w1a1",
    "mnist-tfc-w1a2",
    "mnist-lfc-sign",
)


def test_the_zoo_is_complete():
    assert sorted(path.stem for path in ZOO.glob("*.xnf")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_files_are_those_of_their_cards(name):
    digest = hashlib.sha256((ZOO / f"{name}.xnf").read_bytes()).hexdigest()
    assert f"`{digest}`" in (ZOO / f"{name}.md").read_text(encoding="utf-8")
    network = load_network(ZOO / f"{name}.xnf")
    assert network.name == name
    assert network.provenance.dataset in {dataset.value for dataset in Dataset}


@pytest.mark.parametrize(
    "name",
    # The other data sets are larger, and come from other package managers.
    [
        name if name.startswith("mnist") else pytest.param(name, marks=pytest.mark.slow)
        for name in NAMES
    ],
)
def test_accuracy_is_that_of_the_card(name):
    network = load_network(ZOO / f"{name}.xnf")
    dataset = Dataset(network.provenance.dataset)
    fetch(dataset)
    data = load(dataset)
    labels = golden(network, data.test_images).labels
    right = int((labels == data.test_labels).sum())
    card = (ZOO / f"{name}.md").read_text(encoding="utf-8")
    (stated,) = re.findall(r"^\| accuracy of the integer network \| ([0-9.]+)% \|$", card, re.M)
    assert f"{right / len(labels):.2%}" == f"{stated}%"
    assert right / len(labels) == network.provenance.float_accuracy
