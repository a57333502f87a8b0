"""Data sets that are tiny, as files."""

import re
import struct

import numpy as np
import pytest

from xnorflow.sw.data import cifar


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


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def refuses(call, error, text):
    with pytest.raises(error, match=rf"^{re.escape(text)}$"):
        call()
