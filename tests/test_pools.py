"""Pools of any form: the golden model, PyTorch, and files."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.definitions import reference
from tests.windows import random_pool
from xnorflow.errors import FormatError
from xnorflow.ir import (
    INPUT,
    Bit,
    FeatureMap,
    GlobalSum,
    Int,
    MaxPool,
    Network,
    SumPool,
    UInt,
    Upsample,
    xnf,
)
from xnorflow.sw.golden import golden


def network_of(pool, x):
    """Network of a pool of ``x``; the scores are sums of what it delivers."""
    ones = SumPool("ints", "pool", 1)
    return Network("net", x, (pool, ones, GlobalSum("scores", "ints")), ())


def random_node(rng, kind, x):
    if kind is Upsample:
        return Upsample("pool", INPUT, tuple(int(n) for n in rng.integers(1, 4, 2)))
    return random_pool(rng, kind, x)


@pytest.mark.parametrize("kind", [MaxPool, SumPool, Upsample])
@given(st.integers(0, 2**32 - 1))
def test_the_golden_model_is_the_definition(kind, seed):
    rng = np.random.default_rng(seed)
    type_ = rng.choice([Bit(), UInt(3), Int(4)])
    x = FeatureMap(*(int(side) for side in rng.integers(1, 7, 3)), type_)
    network = network_of(random_node(rng, kind, x), x)
    frames = rng.integers(type_.low, type_.high, (2, *x.shape), endpoint=True)

    loaded = xnf.loads(xnf.dumps(network))
    found = golden(loaded, frames, keep=network.maps)

    assert xnf.dumps(loaded) == xnf.dumps(network)
    for n, frame in enumerate(frames):
        maps, _ = reference(network, frame)
        for name in network.maps:
            assert found.maps[name][n].tolist() == maps[name].tolist(), name


@given(st.integers(0, 2**32 - 1))
def test_is_what_pytorch_computes(seed):
    rng = np.random.default_rng(seed)
    rows, columns = (int(n) for n in rng.integers(1, 6, 2))
    padding = int(rng.integers(0, rows // 2 + 1)), int(rng.integers(0, columns // 2 + 1))
    stride = tuple(int(n) for n in rng.integers(1, 4, 2))
    frames = rng.integers(-128, 128, (2, 7, 6, 2))
    x = torch.tensor(frames).permute(0, 3, 1, 2).double()
    windows = {"stride": stride, "padding": padding}
    expected = {
        MaxPool: functional.max_pool2d(x, (rows, columns), **windows),
        SumPool: functional.avg_pool2d(x, (rows, columns), **windows, divisor_override=1),
    }
    for kind, tensor in expected.items():
        network = network_of(kind("pool", INPUT, (rows, columns), **windows),
                             FeatureMap(7, 6, 2, Int(8)))  # fmt: skip
        found = golden(network, frames, keep=["pool"]).maps["pool"]
        assert found.tolist() == tensor.permute(0, 2, 3, 1).tolist()


def test_files_say_no_more_than_they_must():
    def header(*size, **windows):
        data = xnf.dumps(network_of(MaxPool("pool", INPUT, *size, **windows),
                                    FeatureMap(9, 9, 1, Bit())))  # fmt: skip
        text = re.search(rb'\{\\"name\\": \\"pool\\".*?\}', data)[0].decode()
        return text.replace("\\", "").partition('"max_pool", ')[2]

    assert header((2, 2), stride=(2, 2), padding=(0, 0)) == '"size": 2}'
    assert header(3, stride=2, padding=(1, 1, 1, 1)) == '"size": 3, "stride": 2, "padding": 1}'
    assert header((3, 2), stride=(1, 2)) == '"size": [3, 2], "stride": [1, 2]}'


@pytest.mark.parametrize("value", ["true", '"2"', "[1, 2, 3]", "[1, [2]]", "null", "{}", "0.5"])
@pytest.mark.parametrize("field", ["size", "padding"])
def test_files_with_other_windows_are_refused(monkeypatch, field, value):
    network = network_of(MaxPool("pool", INPUT, 2), FeatureMap(9, 9, 2, Bit()))
    encode = xnf._encode

    def hostile(node):
        header, arrays = encode(node)
        return (header | {field: xnf.json.loads(value)} if node.name == "pool" else header), arrays

    monkeypatch.setattr(xnf, "_encode", hostile)
    with pytest.raises(FormatError, match=r"^is not a valid .xnf file: "):
        xnf.loads(xnf.dumps(network))
