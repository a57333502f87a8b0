import gzip
import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from tests.sw.data.tiny import ARRAYS, BATCHES, CONTENTS, NAMES, files, refuses
from xnorflow.errors import DataError, FormatError
from xnorflow.sw.data import Dataset
from xnorflow.sw.data import published as data


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", [Dataset.MNIST, Dataset.FASHION_MNIST])
def test_load(dataset, source):
    data.fetch(dataset, source)

    loaded = data.load(dataset)

    for images, array in ((loaded.train_images, ARRAYS[0]), (loaded.test_images, ARRAYS[2])):
        assert images.dtype == torch.uint8
        np.testing.assert_array_equal(images.numpy(), array[..., np.newaxis])
    for labels, array in ((loaded.train_labels, ARRAYS[1]), (loaded.test_labels, ARRAYS[3])):
        assert labels.dtype == torch.int64
        np.testing.assert_array_equal(labels.numpy(), array)
    assert loaded.name == dataset.value
    assert len(loaded.classes) == len(set(loaded.classes)) == 10


@pytest.mark.parametrize("folder", ["batches", "images"])
def test_load_cifar10(cache, folder, request):
    data.fetch(Dataset.CIFAR10, request.getfixturevalue(folder))

    loaded = data.load(Dataset.CIFAR10)

    *train, test = BATCHES.values()
    np.testing.assert_array_equal(loaded.train_images, np.concatenate([x for x, _ in train]))
    np.testing.assert_array_equal(loaded.train_labels, np.concatenate([y for _, y in train]))
    np.testing.assert_array_equal(loaded.test_images, test[0])
    np.testing.assert_array_equal(loaded.test_labels, test[1])
    assert loaded.train_images.dtype == torch.uint8
    assert loaded.train_labels.dtype == torch.int64
    assert loaded.classes[3] == "cat"
    assert files(cache) == {f"cifar10/{name}" for name in BATCHES}


@pytest.mark.parametrize("dataset", Dataset)
def test_normalisation_has_all_channels(dataset):
    mean, deviation = dataset.normalisation
    assert len(mean) == len(deviation) == dataset.shape[2]


def test_load_says_how_to_fetch(cache):
    refuses(
        lambda: data.load(Dataset.FASHION_MNIST),
        DataError,
        f"Fashion-MNIST is not in {cache}/fashion-mnist: run `xnorflow data fetch fashion-mnist`",
    )


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HOME": "/home/me"}, "/home/me/.cache/xnorflow"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/xnorflow"),
        ({"XNORFLOW_DATA": "/data", "XDG_CACHE_HOME": "/var/cache/me"}, "/data"),
    ],
)
def test_cache_folder(monkeypatch, variables, folder):
    for name in ("HOME", "XDG_CACHE_HOME", "XNORFLOW_DATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(data.cache_folder()) == folder


# -- from a folder --------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_fetch_takes_the_usual_names(cache, tmp_path, dotted, compress):
    for name, content in CONTENTS.items():
        name = name.replace("-idx", ".idx") if dotted else name
        path = tmp_path / (name + ".gz" if compress else name)
        path.write_bytes(gzip.compress(content) if compress else content)

    assert not data.is_fetched(Dataset.MNIST)
    assert data.fetch(Dataset.MNIST, tmp_path) == cache / "mnist"

    assert data.is_fetched(Dataset.MNIST)
    assert not data.is_fetched(Dataset.FASHION_MNIST)
    assert {path.name: path.read_bytes() for path in (cache / "mnist").iterdir()} == CONTENTS


def test_load_takes_files_that_were_put_there_by_hand(cache):
    (cache / "mnist").mkdir(parents=True)
    for name, content in CONTENTS.items():
        (cache / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content))
    assert data.is_fetched(Dataset.MNIST)


def test_fetch_does_nothing_when_there_is_nothing_to_do(source, monkeypatch):
    folder = data.fetch(Dataset.MNIST, source)
    monkeypatch.setattr(data, "_download", None)
    assert data.fetch(Dataset.MNIST) == folder


def test_fetch_does_not_take_a_wrong_folder_for_a_right_one(source, tmp_path):
    """Not even if the data set is there already: whoever names a folder wants its files."""
    data.fetch(Dataset.MNIST, source)
    with pytest.raises(DataError, match=r"^there is no folder /nowhere$"):
        data.fetch(Dataset.MNIST, "/nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="has none of train-images"):
        data.fetch(Dataset.MNIST, empty)
    assert data.is_fetched(Dataset.MNIST)


def test_fetch_repairs(cache, source):
    data.fetch(Dataset.MNIST, source)
    (cache / "mnist" / NAMES[0]).write_bytes(b"")
    (cache / "mnist" / NAMES[1]).unlink()
    assert not data.is_fetched(Dataset.MNIST)
    data.fetch(Dataset.MNIST, source)
    assert data.is_fetched(Dataset.MNIST)


def test_refuses_a_missing_file(cache, source):
    (source / NAMES[3]).unlink()
    refuses(
        lambda: data.fetch(Dataset.MNIST, source),
        DataError,
        f"the folder {source} has none of t10k-labels-idx1-ubyte, t10k-labels-idx1-ubyte.gz, "
        "t10k-labels.idx1-ubyte, t10k-labels.idx1-ubyte.gz",
    )
    assert not cache.exists()


def test_refuses_other_content(cache, source):
    (source / NAMES[2]).write_bytes(CONTENTS[NAMES[2]][:-1])
    digest = hashlib.sha256(CONTENTS[NAMES[2]][:-1]).hexdigest()
    refuses(
        lambda: data.fetch(Dataset.FASHION_MNIST, source),
        DataError,
        f"{source}/t10k-images-idx3-ubyte is damaged, or not from Fashion-MNIST: its content "
        f"has the SHA-256 {digest}, not {hashlib.sha256(CONTENTS[NAMES[2]]).hexdigest()}",
    )
    assert not cache.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-9],
        lambda packed: packed[:10] + b"\xff" * 9 + packed[19:],
        lambda packed: packed[:2] + b"\x09" + packed[3:],
        lambda packed: packed[:-8] + b"\x00" * 8,
    ],
)
def test_refuses_damaged_compression(cache, source, damage):
    (source / NAMES[0]).write_bytes(damage(gzip.compress(CONTENTS[NAMES[0]])))
    refuses(
        lambda: data.fetch(Dataset.MNIST, source),
        DataError,
        f"{source}/train-images-idx3-ubyte is damaged: it cannot be decompressed",
    )
    assert not cache.exists()


def test_refuses_a_decompression_bomb(monkeypatch, source):
    monkeypatch.setattr(data, "_LARGEST_FILE", 1000)
    (source / NAMES[0]).write_bytes(gzip.compress(bytes(2000)))
    digest = hashlib.sha256(bytes(1000)).hexdigest()
    with pytest.raises(DataError, match=f"its content has the SHA-256 {digest}, not"):
        data.fetch(Dataset.MNIST, source)


def test_refuses_an_unreadable_file(source):
    (source / NAMES[0]).unlink()
    (source / NAMES[0]).mkdir()
    refuses(
        lambda: data.fetch(Dataset.MNIST, source),
        DataError,
        f"{source}/train-images-idx3-ubyte cannot be read: Is a directory",
    )


def test_refuses_a_cache_that_cannot_be_written(cache, source):
    cache.write_bytes(b"in the way")
    refuses(
        lambda: data.fetch(Dataset.MNIST, source),
        FormatError,
        f"the folder {cache}/mnist cannot be created: Not a directory",
    )


def test_full_disk(cache, source, monkeypatch):
    def fail(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    refuses(
        lambda: data.fetch(Dataset.MNIST, source),
        FormatError,
        f"{cache}/mnist/train-images-idx3-ubyte cannot be written: No space left on device",
    )
    assert files(cache) == set()


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("data_batch_2.png", b"\x89PNG", "is damaged: it is no PNG image"),
        ("test_lables.json", b"[1, 300]", "is damaged: it is no list of labels"),
        ("test_lables.json", b"{", "is damaged: it is no list of labels"),
        ("test_batch.png", None, "is missing"),
        ("test_lables.json", None, "cannot be read: No such file or directory"),
    ],
)
def test_refuses_damaged_images(cache, images, name, content, text):
    if content is None:
        (images / name).unlink()
    else:
        (images / name).write_bytes(content)
    refuses(lambda: data.fetch(Dataset.CIFAR10, images), DataError, f"{images}/{name} {text}")
    assert not cache.exists()


def test_refuses_images_that_do_not_fit(cache, images):
    for name, shape, text in (
        ("test_batch.png", (3, 1024, 3), "has 3 images for 2 labels"),
        ("data_batch_1.png", (2, 1000, 3), "has rows of 1000 pixels, not of 1024"),
    ):
        Image.fromarray(np.zeros(shape, np.uint8)).save(images / name)
        refuses(
            lambda: data.fetch(Dataset.CIFAR10, images),
            DataError,
            f"{images}/{name} {text}",
        )


def test_refuses_other_images(cache, images):
    Image.fromarray(np.zeros((2, 1024, 3), np.uint8)).save(images / "data_batch_4.png")
    with pytest.raises(DataError, match=r"data_batch_4\.bin is damaged, or not from CIFAR-10: "):
        data.fetch(Dataset.CIFAR10, images)
    assert not cache.exists()


# -- the real thing -------------------------------------------------------------------------------


def test_mnist(mnist):
    assert mnist.train_images.shape == (60_000, 28, 28, 1)
    assert mnist.test_images.shape == (10_000, 28, 28, 1)
    assert mnist.train_labels.bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert mnist.test_labels.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    # Upright, not transposed: a "1" is taller than it is wide.
    one = mnist.test_images[mnist.test_labels == 1].float().mean(dim=0) > 64
    assert one.any(dim=1).sum() > 1.5 * one.any(dim=0).sum()
