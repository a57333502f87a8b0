"""Convolutions with windows of any form: the golden model, and files."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.definitions import reference
from tests.windows import random_conv
from xnorflow.errors import FormatError, NetworkError
from xnorflow.ir import (
    INPUT,
    Affine,
    BinaryConv,
    Bit,
    Counts,
    FeatureMap,
    GlobalSum,
    Int,
    IntegerConv,
    Network,
    UInt,
    xnf,
)
from xnorflow.sw.golden import golden


def network_of(conv, x):
    """Network of a convolution of ``x``, with sums of what it delivers as scores."""
    delivered = conv.infer(x)
    ones = np.ones(delivered.channels, int)
    carried = isinstance(delivered.type, Counts) and delivered.type.popcount
    nodes = conv, Affine("ints", "conv", ones, ones, ones if carried else None)
    return Network("net", x, (*nodes, GlobalSum("scores", "ints")), ())


@given(st.integers(0, 2**32 - 1))
def test_the_golden_model_is_the_definition(seed):
    rng = np.random.default_rng(seed)
    kind = rng.choice([Bit(), Bit(), UInt(3), Int(4)])
    x = FeatureMap(*(int(side) for side in rng.integers(1, 7, 3)), kind)
    network = network_of(random_conv(rng, x), x)
    frames = rng.integers(kind.low, kind.high, (2, *x.shape), endpoint=True)

    loaded = xnf.loads(xnf.dumps(network))
    found = golden(loaded, frames, keep=network.maps)

    assert xnf.dumps(loaded) == xnf.dumps(network)
    for n, frame in enumerate(frames):
        maps, popcounts = reference(network, frame)
        for name in network.maps:
            assert found.maps[name][n].tolist() == maps[name].tolist(), name
        for name in found.popcounts:
            assert found.popcounts[name][n].tolist() == popcounts[name].tolist()


ONES = np.ones((4, 3, 2, 2), bool)


@pytest.mark.parametrize(
    ("windows", "shortest"),
    [
        ({"stride": (2, 2), "padding": (1, 1)}, {"stride": 2, "padding": 1}),
        ({"stride": [1, 2], "padding": (1, 1, 1, 1)}, {"stride": (1, 2), "padding": 1}),
        ({"padding": [2, 2, 1, 1]}, {"padding": (2, 1)}),
        ({"padding": (2, 1, 1, 1)}, {"padding": (2, 1, 1, 1)}),
        ({"dilation": (3, 3), "padding": 3}, {"dilation": 3, "padding": 3}),
    ],
)
def test_forms_are_the_shortest(windows, shortest):
    node = BinaryConv("c", INPUT, ONES, **windows)
    assert {field: getattr(node, field) for field in shortest} == shortest


def test_files_say_no_more_than_they_must():
    def header(**windows):
        conv = BinaryConv("conv", INPUT, ONES, **windows)
        data = xnf.dumps(network_of(conv, FeatureMap(9, 9, 2 * conv.groups, Bit())))
        text = re.search(rb'\{\\"name\\": \\"conv\\".*?\}', data)[0].decode()
        return text.replace("\\", "").partition('"kernel": ')[2]

    assert header(stride=(2, 2), padding=(1, 1)) == '[3, 2, 2], "stride": 2, "padding": 1}'
    assert header(stride=(1, 2), dilation=(1, 2), groups=2) == (
        '[3, 2, 2], "stride": [1, 2], "padding": 0, "dilation": [1, 2], "groups": 2}'
    )


def conv(name="c", **fields):
    return BinaryConv(name, INPUT, ONES, **fields)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv(stride=(1, 2, 3)),
         "c: stride must be an integer or (rows, columns), not (1, 2, 3)"),
        (lambda: conv(stride=(1, 0)),
         "c: stride of columns must be an integer from 1 to 65536, not 0"),
        (lambda: conv(padding=(1, 1, 1)),
         "c: padding must be an integer, (rows, columns) or (top, bottom, left, right), "
         "not (1, 1, 1)"),
        (lambda: conv(padding=(2, 3, 0, 0)),
         "c: padding at the bottom must be an integer from 0 to 2, not 3"),
        (lambda: conv(padding=(0, 2)),
         "c: padding at the left must be an integer from 0 to 1, not 2"),
        (lambda: conv(dilation="2"), "c: dilation must be an integer from 1 to 65536, not '2'"),
        (lambda: conv(groups=3), "c: its 3 groups must divide its 4 filters"),
        (lambda: conv(groups=2, popcount=True),
         "c: the filters of several groups share no popcount"),
        (lambda: conv(dilation=(4, 1)).infer(FeatureMap(8, 8, 2, Bit())),
         "c: a kernel of 3×2×2 with the dilation (4, 1) does not fit a map of 8×8×2"),
        (lambda: IntegerConv("c", INPUT, ONES * 2, groups=2).infer(FeatureMap(8, 8, 2, Bit())),
         "c: a kernel of 3×2×2 for each of 2 groups does not fit a map of 8×8×2"),
    ],
)  # fmt: skip
def test_refuses(make, message):
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("value", ["true", '"2"', "[1, 2, 3]", "[1, [2]]", "null", "{}"])
@pytest.mark.parametrize("field", ["stride", "padding", "dilation", "groups"])
def test_files_with_other_windows_are_refused(monkeypatch, field, value):
    network = network_of(conv(name="conv"), FeatureMap(9, 9, 2, Bit()))
    encode = xnf._encode

    def hostile(node):
        header, arrays = encode(node)
        return (header | {field: xnf.json.loads(value)} if node.name == "conv" else header), arrays

    monkeypatch.setattr(xnf, "_encode", hostile)
    with pytest.raises(FormatError, match=r"^is not a valid .xnf file: "):
        xnf.loads(xnf.dumps(network))
