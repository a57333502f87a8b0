"""Files of networks, and what is in them."""

import hashlib
import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from xnorflow.errors import FormatError
from xnorflow.ir import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    FeatureMap,
    Gate,
    IntegerConv,
    MaxPool,
    Network,
    Provenance,
    Threshold,
    UInt,
    xnf,
)


def example(**changes):
    """Smallest network that uses every field of the format."""
    nodes = (
        Threshold("bits", INPUT, np.array([100, 7, 0]), inverted=np.array([True, False, True])),
        BinaryConv("conv", "bits", np.ones((2, 1, 3, 3), bool), gate=Gate.AND, popcount=True),
        Affine("scores", "conv", np.array([1, -2]), np.array([3, 4]), np.array([5, -6])),
        ArgMax("label", "scores"),
    )
    arguments = {
        "name": "example",
        "input": FeatureMap(1, 3, 3, UInt(8)),
        "nodes": nodes,
        "labels": ("α", "b"),
        "provenance": Provenance("mnist", "TFC", "sign", "default", 3, 40, 0.9375),
    }
    return Network(**arguments | changes)


def contents(data):
    """Graph and tensors of a file."""
    tensors = safetensors.numpy.load(data)
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["xnf"]), tensors


def assemble(graph, tensors, key="xnf"):
    """A file of any content, with the right checksum."""
    text = graph if isinstance(graph, str) else json.dumps(graph | {"sha256": "0" * 64})
    data = safetensors.numpy.save(tensors, {key: text})
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def refuse(data, reason):
    with pytest.raises(FormatError) as caught:
        xnf.loads(data)
    assert str(caught.value) == f"is not a valid .xnf file: {reason}"


def files(folder):
    return [path.name for path in folder.iterdir()]


def convolutions():
    """Smallest network with every field that `example` lacks."""
    nodes = (
        IntegerConv("stem", INPUT, np.array([1, -2, 300, 4]).reshape(2, 1, 2, 1)),
        Threshold("bits", "stem", np.array([[7, 0], [5, 1]]), classes=np.array([[0, 1], [1, 1]])),
        MaxPool("pool", "bits", 2, np.array([False, True])),
        BinaryConv("conv", "pool", np.ones((2, 1, 1, 2), bool), stride=3),
        Affine("scores", "conv", np.array([1, -2]), np.array([3, 4])),
        ArgMax("label", "scores"),
    )
    return Network("convolutions", FeatureMap(2, 3, 1, UInt(8)), nodes, ("a", "b"))
