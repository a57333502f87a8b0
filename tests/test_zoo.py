import hashlib
import re
from pathlib import Path

import pytest

from xnorflow.sw.data import Dataset, is_fetched, load
from xnorflow.sw.golden import golden
from xnorflow.xnf import load as load_network


ZOO = Path(__file__).parent.parent / "zoo"

SHA256 = {
    "mnist-tfc-sign": "ed928ca5da6d427bad1fdac97c7cf9527efeebb2fe6f7604968d208c44fb9925",
    "mnist-tfc-adabin": "c32ca0f9b49cc731785bdd81349e9910a57c5f6374458e7faed2929fa7ae0925",
    "mnist-sfc-sign": "2165e71c31f038ddda1859da5a7fff3caeb93bc29d27a3d90b4e678de4398bf6",
    "mnist-tfc-siman": "40385edc7ce2233d03be3a5f344a7a683f76827365a2c8fbfdabdeb495871e16",
    "mnist-lfc-sign": "17fb385dec325f0d6bd5b1b52dc0029879a8958ea72126a5753e7bd3461be554",
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


@pytest.mark.parametrize("name", SHA256)
def test_accuracy_is_that_of_the_card(name):
    network = load_network(ZOO / f"{name}.xnf")
    dataset = Dataset(network.provenance.dataset)
    if not is_fetched(dataset):
        pytest.skip(f"{dataset.title} has not been fetched")
    data = load(dataset)
    labels = golden(network, data.test_images).labels
    right = int((labels == data.test_labels).sum())
    card = (ZOO / f"{name}.md").read_text(encoding="utf-8")
    (stated,) = re.findall(r"^\| accuracy of the integer network \| ([0-9.]+)% \|$", card, re.M)
    assert f"{right / len(labels):.2%}" == f"{stated}%"
    assert right / len(labels) == network.provenance.float_accuracy
