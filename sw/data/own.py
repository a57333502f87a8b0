"""Data of one's own: a folder of images, an .npz file, or a pair of .npy files."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xnorflow.arrays import read_array, read_arrays
from xnorflow.errors import DataError
from xnorflow.frames import quantise
from xnorflow.ir import Int, Quantisation, UInt, ValueType
from xnorflow.sw.data.images import ImageData


__all__ = ["calibrate_quantisation", "read_data", "read_labels"]

_TEST_SHARE = 5
"""Where nothing says which images are for testing, every so many-th of each class is."""

_SUFFIXES = frozenset({
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
})
_TYPES: tuple[tuple[Any, ValueType], ...] = (
    (np.uint8, UInt(8)),
    (np.int8, Int(8)),
    (np.int16, Int(16)),
)


def read_data(
    source: Path | str,
    labels: Path | str | None = None,
    *,
    quantisation: Quantisation | None = None,
) -> ImageData:
    """Read labelled data from a folder, an .npz file, or an .npy file and one with its labels.

    Parameters
    ----------
    source : path
        - A folder with a folder of images for each class, or with such folders in ``train`` and
          ``test``. All images have the same size; they are grey if all of them are.
        - An .npz file with ``x_train``, ``y_train``, ``x_test`` and ``y_test``.
        - An .npy file of frames.

        Frames are (N, height, width, channels), (N, height, width), or (N, channels) for vectors:
        uint8, int8, int16, bool, or floating point. Labels are integers from 0 on, or names.
    labels : path, optional
        The .npy file of labels that belongs to an .npy file of frames.
    quantisation : Quantisation, optional
        What integers stand for, and for floating-point values how they become integers; otherwise
        it is calibrated on the training data: see `calibrate_quantisation`.

    Returns
    -------
    ImageData
        Where the data do not say which part is for testing, every fifth frame of each class is.

    Raises
    ------
    DataError
        If the data are not what is described here.

    Examples
    --------
    >>> images = np.zeros((4, 8, 8), np.uint8)
    >>> labels = np.array([0, 1, 0, 1])
    >>> np.savez("mine.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    >>> xnorflow.read_data("mine.npz").test_images.shape
    torch.Size([4, 8, 8, 1])
    """
    path = Path(source)
    if path.is_dir():
        parts = _read_folder(path)
    elif path.suffix == ".npz":
        parts = _read_npz(path)
    elif path.suffix == ".npy":
        if labels is None:
            raise DataError(f"{path} needs the labels of its frames: another .npy file")
        parts = _split(read_array(path), read_array(Path(labels)))
    else:
        raise DataError(f"data must be a folder, an .npz file or an .npy file, not {path}")
    train, train_labels, test, test_labels = parts
    train, test = (_frames(each, path) for each in (train, test))
    if train.shape[1:] != test.shape[1:]:
        raise DataError(f"{path} has frames of different shapes for training and for testing")
    numbers, classes = _classes(path, train_labels, test_labels)
    for frames, each in zip((train, test), numbers, strict=True):
        if len(frames) != len(each):
            raise DataError(f"{path} has {len(frames)} frames with {len(each)} labels")
    if train.dtype.kind == "f":
        quantisation = quantisation or calibrate_quantisation(train)
        type_: ValueType = Int(8) if train.min() < 0 else UInt(8)
        train, test = (quantise(each, type_, quantisation) for each in (train, test))
    return ImageData(
        name=path.stem[:40],
        train_images=torch.from_numpy(np.ascontiguousarray(train)),
        train_labels=torch.from_numpy(numbers[0]),
        test_images=torch.from_numpy(np.ascontiguousarray(test)),
        test_labels=torch.from_numpy(numbers[1]),
        classes=classes,
        quantisation=quantisation or Quantisation(),
    )


def calibrate_quantisation(values: NDArray[Any]) -> Quantisation:
    """Scale and zero point with which 8 bits span the range of ``values``, and 0 is exact.

    Without values below 0 the integers are unsigned and the zero point is 0.
    """
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = (high - low) / 255 or 1.0
    return Quantisation(scale, math.floor(-low / scale + 0.5) - 128 if low < 0 else 0)


def read_labels(source: Path, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Labels of an .npy file, as indices into ``classes``.

    Raises
    ------
    DataError
        If they are no labels of these classes.
    """
    labels = read_array(source)
    if labels.dtype.kind in "US":
        found = {name: number for number, name in enumerate(classes)}
        unknown = sorted(set(map(str, labels)) - found.keys())
        if unknown:
            raise DataError(f"{source} has the label {unknown[0]!r}, which is no class")
        return np.array([found[str(name)] for name in labels], np.int64)
    (numbers,), _ = _classes(source, labels)
    if numbers.size and numbers.max() >= len(classes):
        raise DataError(
            f"{source} has the label {numbers.max()}, but there are {len(classes)} classes"
        )
    return numbers


_Parts = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
"""Frames and labels for training, and for testing."""


def _read_npz(path: Path) -> _Parts:
    names = "x_train", "y_train", "x_test", "y_test"
    arrays = read_arrays(path)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(f"{path} has no {' and no '.join(missing)}")
    x_train, y_train, x_test, y_test = (arrays[name] for name in names)
    return x_train, y_train, x_test, y_test


def _split(frames: NDArray[Any], labels: NDArray[Any]) -> _Parts:
    """Put every fifth frame of each class aside for testing."""
    if labels.ndim != 1 or len(frames) != len(labels):
        raise DataError(f"there are {len(frames)} frames, but labels of shape {labels.shape}")
    test = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        test[np.flatnonzero(labels == label)[_TEST_SHARE - 1 :: _TEST_SHARE]] = True
    return frames[~test], labels[~test], frames[test], labels[test]


def _read_folder(path: Path) -> _Parts:
    folders = {each.name for each in path.iterdir() if each.is_dir()}
    if {"train", "test"} <= folders:
        grey = all(_is_grey(file) for _, file in _images(path / "train"))
        return *_read_images(path / "train", grey), *_read_images(path / "test", grey)
    return _split(*_read_images(path, all(_is_grey(file) for _, file in _images(path))))


def _images(path: Path) -> Iterator[tuple[str, Path]]:
    """Class and file of each image, in the order of their names."""
    for folder in sorted(each for each in path.iterdir() if each.is_dir()):
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in _SUFFIXES:
                yield folder.name, file


def _read_images(path: Path, grey: bool) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    frames: list[NDArray[np.uint8]] = []
    labels = []
    for name, file in _images(path):
        frame = _open(file, "L" if grey else "RGB")
        if frames and frame.shape != frames[0].shape:
            raise DataError(
                f"{file} has {frame.shape[1]}×{frame.shape[0]} pixels, images before it "
                f"{frames[0].shape[1]}×{frames[0].shape[0]}: all must have the same size"
            )
        frames.append(frame)
        labels.append(name)
    if not frames:
        raise DataError(f"{path} has no folders of images, one for each class")
    return np.stack(frames), np.array(labels)


def _is_grey(file: Path) -> bool:
    return _open(file, None).ndim == 2


def _open(file: Path, mode: str | None) -> NDArray[np.uint8]:
    """Pixels of an image file, in a colour mode of Pillow's."""
    # Here, because only images need it.
    from PIL import Image

    try:
        with Image.open(file) as image:
            if mode is None:
                return np.zeros((1,) * (2 if image.mode in ("1", "L", "I;16") else 3), np.uint8)
            return np.asarray(image.convert(mode))
    # What Pillow raises depends on the damage.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        raise DataError(f"{file} is damaged, or no image") from None


def _frames(frames: NDArray[Any], path: Path) -> NDArray[Any]:
    """Frames (N, height, width, channels), of integers that a network can take or of floats."""
    if frames.ndim == 2:
        frames = frames[:, np.newaxis, np.newaxis]
    elif frames.ndim == 3:
        frames = frames[..., np.newaxis]
    if frames.ndim != 4 or not frames.size:
        raise DataError(
            f"{path} must have frames of shape (N, height, width, channels), (N, height, width) or "
            f"(N, channels), not {frames.shape}"
        )
    if frames.dtype.kind == "f":
        if not np.isfinite(frames).all():
            raise DataError(f"{path} has values that are not finite")
        return frames.astype(np.float64)
    if frames.dtype.kind not in "iub":
        raise DataError(f"{path} must have numbers, not {frames.dtype}")
    low, high = int(frames.min()), int(frames.max())
    for dtype, type_ in _TYPES:
        if type_.low <= low and high <= type_.high:
            fits = frames.dtype == dtype or frames.dtype.itemsize > np.dtype(dtype).itemsize
            if fits or frames.dtype.kind == "b":
                return frames.astype(dtype)
    raise DataError(f"{path} has integers from {low} to {high}, which need more than 16 bits")


def _classes(path: Path, *labels: NDArray[Any]) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Labels as numbers, and the names of the classes."""
    if any(each.ndim != 1 for each in labels):
        raise DataError(f"{path} must have one label for each frame")
    if all(each.dtype.kind in "US" for each in labels):
        names = sorted({str(name) for name in np.concatenate(labels)})
        return [np.searchsorted(names, each).astype(np.int64) for each in labels], tuple(names)
    if not all(each.dtype.kind in "iu" for each in labels):
        raise DataError(f"{path} must have labels that are integers or names")
    low, high = min(int(each.min()) for each in labels), max(int(each.max()) for each in labels)
    if low < 0 or high >= 1 << 16:
        raise DataError(f"{path} has labels from {low} to {high}; they must count from 0")
    return [each.astype(np.int64) for each in labels], tuple(map(str, range(high + 1)))
