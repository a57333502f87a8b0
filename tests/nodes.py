"""Maps and nodes that tests of them share."""

import re

import numpy as np
import pytest

from xnorflow.errors import NetworkError
from xnorflow.ir import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    Bit,
    Counts,
    FeatureMap,
    Int,
    Threshold,
    UInt,
)


def ints(*values):
    return np.array(values, np.int64)


def refuses(make, *, text):
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}$"):
        make()


PIXELS = FeatureMap(2, 3, 1, UInt(8))


BITS = FeatureMap(2, 3, 1, Bit())


COUNTS = FeatureMap(1, 1, 2, Counts(6))


COUNTS_AND_P = FeatureMap(1, 1, 2, Counts(6, popcount=True))


SCORES = FeatureMap(1, 1, 2, Int(9))


BITS_NODE = Threshold("bits", INPUT, ints(128))


CONV_NODE = BinaryConv("conv", "bits", np.ones((2, 2, 3, 1), bool))


SCORES_NODE = Affine("scores", "conv", ints(2, -2), ints(-6, 6))


LABEL_NODE = ArgMax("label", "scores")
