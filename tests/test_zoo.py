import hashlib
import re
from pathlib import Path

import pytest

from xnorflow.sw.data import Dataset, fetch, load
from xnorflow.sw.golden import golden
from xnorflow.xnf import load as load_network


ZOO = Path(__file__).parent.parent / "zoo"

SHA256 = {
    "cifar10-cnv": "dcaa2c75829022f941812acfa70ed2ba7220b20a8e958302faf2c411848d713f",
    "cifar10-resnet20-reactnet": "8a0eb298fb085c00871e176733f551ba97cce18bca603debb77f13b5621ce3fc",
    "cifar10-resnet20-siman-bipolar": "f3b240e6d76ad85b5a9d5e2161469c36e063e41e0e88d3f44bd5245d2f841c32",
    "fashion-conv": "b6f8c657add2d2440f573908c4c20d07a1da591e1e2f906d08b541c10ff9e333",
    "mnist-conv-up5k": "c88437efd1a5afbc8176d1f909ea7ba293be07cf156c3c4b37f3d9abc6eafea7",
    "fashion-lfc-adabin": "9a0e28c7bd549addce3d0eebaee01a411d8ebc50e3e49375c6856cfd78d1c66a",
    "mnist-tfc-sign": "6aa0d2e07e297d9b496496d5a28aed34889d22296cc27a8be750247870398c37",
    "mnist-tfc-adabin": "5f85c682df810b3f53b2c8735cb17faca0bb338f598526fca9ee10781e2ca39c",
    "mnist-sfc-sign": "0513365345d0cee787ce86fd425fa06bc640778828097f18ecad557d791943a3",
    "mnist-tfc-siman": "94cd5b2040df8073433affd322e9ea54185c93e2595bacdaf5ad6795f6a0ab99",
    "mnist-lfc-sign": "77fbf732a27c21ea4aaa7d0bfa58d242058de369ae4c5b37720922629f88f7aa",
}


def test_the_zoo_is_complete():
    assert sorted(path.stem for path in ZOO.glob("*.xnf")) == sorted(SHA256)


@pytest.mark.parametrize("name", SHA256)
def test_files_are_those_of_their_cards(name):
    digest = hashlib.sha256((ZOO / f"{name}.xnf").read_bytes()).hexdigest()
    assert digest == SHA256[name]
    assert f"`{digest}`" in (ZOO / f"{name}.md").read_text(encoding="utf-8")
    network = load_network(ZOO / f"{name}.xnf")
    assert network.name == name
    assert network.provenance.dataset in {dataset.value for dataset in Dataset}


@pytest.mark.parametrize(
    "name",
    # The other data sets are larger, and come from other package managers.
    [
        name if name.startswith("mnist") else pytest.param(name, marks=pytest.mark.slow)
        for name in SHA256
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
