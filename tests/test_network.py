from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nodes import (
    BITS,
    BITS_NODE,
    CONV_NODE,
    COUNTS,
    LABEL_NODE,
    PIXELS,
    SCORES_NODE,
    ints,
    refuses,
)
from xnorflow.errors import NetworkError, XnorflowError
from xnorflow.ir import (
    INPUT,
    ArgMax,
    Bit,
    Counts,
    FeatureMap,
    Int,
    IntegerConv,
    Network,
    Provenance,
    Threshold,
    UInt,
    clip_thresholds,
    int_bits,
)


NODES = (BITS_NODE, CONV_NODE, SCORES_NODE, LABEL_NODE)


ONE_SCORE = (
    Threshold("bits", INPUT, ints(128)),
    IntegerConv("scores", "bits", np.ones((1, 2, 3, 1), int)),
    ArgMax("label", "scores"),
)


def network(nodes=NODES, **changes):
    return Network(**{"name": "net", "input": PIXELS, "labels": ("a", "b")} | changes, nodes=nodes)


# -- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value_type", "low", "high"),
    [
        (Bit(), 0, 1),
        (UInt(1), 0, 1),
        (UInt(8), 0, 255),
        (UInt(32), 0, 2**32 - 1),
        (Int(1), -1, 0),
        (Int(8), -128, 127),
        (Counts(9), 0, 9),
    ],
)
def test_range_of_types(value_type, low, high):
    assert (value_type.low, value_type.high) == (low, high)


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40))
def test_int_bits_is_the_narrowest(low, extent):
    high = low + extent
    bits = int_bits(low, high)
    assert -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1)
    if bits > 1:
        assert not -(2 ** (bits - 2)) <= low <= high < 2 ** (bits - 2)


def test_feature_map():
    assert (PIXELS.shape, PIXELS.size) == ((2, 3, 1), 6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: UInt(0), "bits of an unsigned integer must be an integer from 1 to 32, not 0"),
        (lambda: Int(33), "bits of a signed integer must be an integer from 1 to 32, not 33"),
        (lambda: Int(True), "bits of a signed integer must be an integer from 1 to 32, not True"),
        (lambda: Counts(1 << 24),
         "taps of a count must be an integer from 1 to 16777215, not 16777216"),
        (lambda: FeatureMap(1, 2, 0, Bit()),
         "channels of a feature map must be an integer from 1 to 65536, not 0"),
        (lambda: FeatureMap(1, 2.0, 1, Bit()),
         "width of a feature map must be an integer from 1 to 65536, not 2.0"),
        (lambda: FeatureMap(65537, 2, 1, Bit()),
         "height of a feature map must be an integer from 1 to 65536, not 65537"),
        (lambda: FeatureMap(1, 2, 1, "bit"), "a feature map cannot be of type 'bit'"),
        (lambda: Counts(3, popcount=1), "whether counts carry P must be a bool, not 1"),
    ],
)  # fmt: skip
def test_refuses_type(make, text):
    refuses(make, text=text)


# -- the network ----------------------------------------------------------------------------------


def test_network():
    net = network()
    assert (net.scores, net.label) == ("scores", "label")
    assert dict(net.maps) == {
        INPUT: PIXELS,
        "bits": BITS,
        "conv": COUNTS,
        "scores": FeatureMap(1, 1, 2, Int(4)),
        "label": FeatureMap(1, 1, 1, UInt(1)),
    }
    with pytest.raises(TypeError, match="item assignment"):
        net.maps["bits"] = PIXELS


def test_a_network_may_deliver_scores_alone():
    net = network(NODES[:-1], labels=())
    assert (net.scores, net.label) == ("scores", None)


def test_a_single_score_decides_between_two_classes():
    net = network(ONE_SCORE)
    assert (net.scores, net.label) == ("scores", "label")
    assert net.maps["label"] == FeatureMap(1, 1, 1, UInt(1))


def test_lists_become_tuples():
    net = network(list(NODES), labels=["a", "b"])
    assert (net.nodes, net.labels) == (NODES, ("a", "b"))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: network(name=""),
         "a network's name must be 1 to 200 printable characters, not ''"),
        (lambda: network(name=b"net"),
         "a network's name must be 1 to 200 printable characters, not b'net'"),
        (lambda: network(labels=("a", "\n")),
         "net: a label must be 1 to 200 printable characters, not '\\n'"),
        (lambda: network(labels=("a", "a")), "net: two classes have the same label"),
        (lambda: network(labels=("a", "b", "c")), "net: there are 3 labels for 2 classes"),
        (lambda: network(quantisation=0.5), "net: quantisation must be a Quantisation, not 0.5"),
        (lambda: network(provenance={}), "net: provenance must be a Provenance, not {}"),
        (lambda: network(input=(2, 3, 1)), "net: input must be a FeatureMap, not (2, 3, 1)"),
        (lambda: network((*NODES[:-1], "label")), "net: a node must be a Node, not 'label'"),
        (lambda: network(input=FeatureMap(2, 3, 1, Counts(9))),
         "net: the input must be pixels, not counts"),
        (lambda: network(input=FeatureMap(2, 3, 1, Int(8, 4))),
         "net: the input must be integers, without a fraction"),
        (lambda: network(()), "net: there must be at least one node"),
        (lambda: network(NODES[:-1]), "net: there are labels, but no ArgMax to choose one"),
        (lambda: network(NODES[:1], labels=()),
         "net: the scores must be a 1×1 map, not 2×3×1 of bits"),
        (lambda: network(ONE_SCORE, labels=("a",)), "net: there are 1 labels for 2 classes"),
        (lambda: network((BITS_NODE, *NODES)), "net: two nodes are named 'bits'"),
        (lambda: network((CONV_NODE, BITS_NODE, *NODES[2:])),
         "conv: its source 'bits' does not come before it"),
        (lambda: network((Threshold("u", INPUT, ints(1)), *NODES)), "net: nothing uses u"),
        (lambda: network((Threshold("u", INPUT, ints(1)), BITS_NODE,
                          Threshold("v", INPUT, ints(1)), *NODES[1:])), "net: nothing uses u, v"),
    ],
)  # fmt: skip
def test_refuses_network(make, text):
    refuses(make, text=text)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Provenance(dataset=None),
         "provenance: dataset must be 0 to 200 printable characters, not None"),
        (lambda: Provenance(recipe="x" * 201),
         f"provenance: recipe must be 0 to 200 printable characters, not {repr('x' * 201)[:40]}"),
        (lambda: Provenance(seed=-1),
         "provenance: seed must be an integer from 0 to 9223372036854775807, not -1"),
        (lambda: Provenance(epochs=1.5),
         "provenance: epochs must be an integer from 0 to 9223372036854775807, not 1.5"),
        (lambda: Provenance(float_accuracy=float("nan")),
         "provenance: accuracy must be from 0.0 to 1.0, not nan"),
        (lambda: Provenance(float_accuracy=97.5),
         "provenance: accuracy must be from 0.0 to 1.0, not 97.5"),
    ],
)  # fmt: skip
def test_refuses_provenance(make, text):
    refuses(make, text=text)


def test_clips_thresholds_wherever_they_are():
    first = replace(BITS_NODE, thresholds=ints(999))
    second = Threshold("act", "conv", ints(-5, 4))
    nodes = first, CONV_NODE, second, ArgMax("label", "act")
    refuses(lambda: network(nodes), text="bits: a threshold lies outside the range of what it is "
            "compared with")  # fmt: skip
    clipped = network(clip_thresholds(PIXELS, nodes)).nodes
    assert [node.thresholds.tolist() for node in clipped if isinstance(node, Threshold)] == [
        [256],
        [0, 4],
    ]


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ((replace(BITS_NODE, source="none"), *NODES[1:]),
         "bits: its source 'none' does not come before it"),
        ((BITS_NODE, replace(CONV_NODE, padding=1, source=INPUT), *NODES[2:]),
         "conv: the input must be bits, not 8-bit unsigned integers"),
        ((BITS_NODE, BITS_NODE, *NODES[1:]), "net: two nodes are named 'bits'"),
    ],
)  # fmt: skip
def test_clipping_leaves_what_is_wrong_to_the_network(nodes, text):
    refuses(lambda: network(clip_thresholds(PIXELS, nodes)), text=text)


def test_errors_are_values_too():
    """Callers who know nothing of this package can catch ValueError."""
    assert issubclass(NetworkError, ValueError)
    assert issubclass(NetworkError, XnorflowError)
