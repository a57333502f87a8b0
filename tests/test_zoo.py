import hashlib
import re
from pathlib import Path

import pytest

from xnorflow.sw.data import Dataset, fetch, load
from xnorflow.sw.golden import golden
from xnorflow.xnf import load as load_network


ZOO = Path(__file__).parent.parent / "zoo"

SHA256 = {
    "fashion-conv": "a7d6d72a932cc993ea5b58adf5547b39f2d1295815ae5d662eb5357e5659cbfe",
    "mnist-conv-up5k": "f5f7a4dd3d4a0afbfd82a763357c502da918ec6a23786afd3c3ce3846850f6c9",
    "fashion-lfc-adabin": "d1bfb93cda5907d67cb862cdd589f33f50b9399075ae3d9a464c1ff0ae4b5a34",
    "mnist-tfc-sign": "d8f66947cc96c972d54a107991a31b3cfd37f32febba039140350cd7c144b11c",
    "mnist-tfc-adabin": "e618c85de9bb1f44b3b44c8e563f0df655caac5f1d7a0ff57af5107a42c8a1f4",
    "mnist-sfc-sign": "93597488f6e049493acd1e05d35f016ce9c8ae83ed20a0c435db75620ea79aa6",
    "mnist-tfc-siman": "c2e96071efb5063c9da93a7742074366320637f7159ba08d5b1a84c9b91c1d04",
    "mnist-lfc-sign": "eb994dce798545a7c3e08c616d2216a0b575702c5c1fb26ebd865db3866ff38e",
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
