import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nodes import (
    BITS,
    BITS_NODE,
    CONV_NODE,
    COUNTS,
    COUNTS_AND_P,
    LABEL_NODE,
    PIXELS,
    SCORES,
    SCORES_NODE,
    ints,
    refuses,
)
from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Bit,
    Concat,
    Counts,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    Gate,
    GlobalSum,
    Int,
    IntegerConv,
    MaxPool,
    PadChannels,
    Rounding,
    Subsample,
    SumPool,
    Threshold,
    TwoSlope,
    UInt,
    Upsample,
)


def peak():
    """What residual networks for large images begin with."""
    return MaxPool("p", "x", 3, stride=2, padding=1)


@pytest.mark.parametrize(
    ("node", "x", "y"),
    [
        (CONV_NODE, BITS, FeatureMap(1, 1, 2, Counts(6))),
        (BinaryConv("c", "b", np.ones((4, 1, 2, 1), bool), gate=Gate.AND, popcount=True), BITS,
         FeatureMap(2, 2, 4, Counts(2, popcount=True))),
        (BinaryConv("c", "b", np.ones((4, 2, 2, 1), bool), stride=2, padding=1), BITS,
         FeatureMap(2, 2, 4, Counts(4))),
        (IntegerConv("i", "b", ints(5, -3, 1).reshape(1, 1, 3, 1)), BITS,
         FeatureMap(2, 1, 1, Int(4))),
        (IntegerConv("i", "b", ints(1, -1).reshape(2, 1, 1, 1), stride=2), PIXELS,
         FeatureMap(1, 2, 2, Int(9))),
        # Outside the frame there are zeros, even where the input's range has none.
        (IntegerConv("i", "b", ints(3).reshape(1, 1, 1, 1)), FeatureMap(1, 1, 1, Int(4)),
         FeatureMap(1, 1, 1, Int(6))),
        (MaxPool("p", "b", 2), FeatureMap(5, 4, 3, Bit()), FeatureMap(2, 2, 3, Bit())),
        (peak(), FeatureMap(5, 4, 3, Int(9, 4)), FeatureMap(3, 2, 3, Int(9, 4))),
        (peak(), FeatureMap(1, 1, 1, Int(9)), FeatureMap(1, 1, 1, Int(9))),
        (MaxPool("p", "x", (1, 3), padding=(0, 0, 2, 1), stride=(2, 1)),
         FeatureMap(4, 5, 1, UInt(3)), FeatureMap(2, 6, 1, UInt(3))),
        (SumPool("p", "b", (2, 3)), FeatureMap(5, 4, 3, Bit()), FeatureMap(2, 1, 3, Int(4))),
        (SumPool("p", "b", 3, stride=1, padding=1), FeatureMap(1, 2, 1, UInt(4)),
         FeatureMap(1, 2, 1, Int(6))),
        (Upsample("u", "x", (2, 1)), FeatureMap(2, 3, 1, Int(9, 4)),
         FeatureMap(4, 3, 1, Int(9, 4))),
        (SumPool("p", "x", 2), FeatureMap(2, 2, 1, Int(9, 4)), FeatureMap(1, 1, 1, Int(11, 4))),
        (Threshold("t", "c", ints(0, 7, 3).reshape(3, 1), classes=ints(0, 1, 2).reshape(1, 3)),
         FeatureMap(1, 3, 1, Counts(6)), FeatureMap(1, 3, 1, Bit())),
        (BITS_NODE, PIXELS, BITS),
        (Threshold("t", "c", ints(0, 7)), COUNTS, FeatureMap(1, 1, 2, Bit())),
        (Threshold("t", "c", ints(-12, 24), ints(-2, 0), 2), COUNTS_AND_P,
         FeatureMap(1, 1, 2, Bit())),
        (SCORES_NODE, COUNTS, FeatureMap(1, 1, 2, Int(4))),
        (Affine("s", "c", ints(1, 1), ints(0, 1)), COUNTS, FeatureMap(1, 1, 2, Int(4))),
        (Affine("s", "c", ints(1, 1), ints(0, 2)), COUNTS, FeatureMap(1, 1, 2, Int(5))),
        (Affine("s", "c", ints(1, 1), ints(0, 0), ints(0, -2)), COUNTS_AND_P,
         FeatureMap(1, 1, 2, Int(5))),
        (Affine("s", "c", ints(1), ints(-(1 << 31))), FeatureMap(1, 1, 1, UInt(32)),
         FeatureMap(1, 1, 1, Int(32))),
        (LABEL_NODE, SCORES, FeatureMap(1, 1, 1, UInt(1))),
        (LABEL_NODE, FeatureMap(1, 1, 1, Int(9)), FeatureMap(1, 1, 1, UInt(1))),
        (LABEL_NODE, FeatureMap(1, 1, 17, UInt(9)), FeatureMap(1, 1, 1, UInt(5))),
    ],
)  # fmt: skip
def test_infer(node, x, y):
    assert node.infer(x) == y


def test_bounds_are_of_the_left_side():
    node = Threshold("t", "c", ints(0, 0), ints(3, -3), 2)
    low, high = node.bounds(COUNTS_AND_P)
    assert (low.tolist(), high.tolist()) == ([0, -18], [42, 24])


def test_taps_and_filters():
    node = BinaryConv("c", "b", np.ones((4, 1, 2, 3), bool))
    assert (node.filters, node.taps) == (4, 6)


def test_arrays_are_read_only_copies():
    thresholds = ints(128)
    node = Threshold("t", INPUT, thresholds)
    thresholds[0] = 1
    assert node.thresholds.tolist() == [128]
    assert Threshold("t", INPUT, np.array([128], np.uint8)).thresholds.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        node.thresholds[0] = 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ArgMax("Label", "s"),
         "a node's name must be lower-case letters, digits and underscores, not 'Label'"),
        (lambda: ArgMax("input", "s"),
         "a node's name must be lower-case letters, digits and underscores, not 'input'"),
        (lambda: ArgMax("", "s"),
         "a node's name must be lower-case letters, digits and underscores, not ''"),
        (lambda: Threshold(3, INPUT, ints(0)),
         "a node's name must be lower-case letters, digits and underscores, not 3"),
        (lambda: BinaryConv("c", "b", np.ones((1, 1, 1, 1))),
         "c: weights must be bits, not float64"),
        (lambda: BinaryConv("c", "b", np.ones((1, 1, 1), bool)),
         "c: weights has the wrong shape (1, 1, 1)"),
        (lambda: BinaryConv("c", "b", np.ones((0, 1, 1, 1), bool)),
         "c: weights has the wrong shape (0, 1, 1, 1)"),
        (lambda: BinaryConv("c", "b", np.ones((1, 1, 1, 1), bool), gate="xnor"),
         "c: gate must be a Gate, not 'xnor'"),
        (lambda: Threshold("t", INPUT, np.zeros(1)), "t: thresholds must be integers, not float64"),
        (lambda: Threshold("t", INPUT, ints(0), ints(0, 0)),
         "t: popcount_weights has the wrong shape (2,)"),
        (lambda: Threshold("t", INPUT, ints(0), inverted=ints(0)),
         "t: inverted must be bits, not int64"),
        (lambda: BinaryConv("c", INPUT, np.ones((1, 3, 3, 1), bool), stride=0),
         "c: stride must be an integer from 1 to 65536, not 0"),
        (lambda: BinaryConv("c", INPUT, np.ones((1, 3, 2, 1), bool), padding=2),
         "c: padding must be an integer from 0 to 1, not 2"),
        (lambda: IntegerConv("i", INPUT, ints(1 << 15).reshape(1, 1, 1, 1)),
         "i: its weights need 17 bits, more than 16"),
        (lambda: MaxPool("p", INPUT, 0), "p: size must be an integer from 1 to 65536, not 0"),
        (lambda: MaxPool("p", INPUT, 2, stride=(1, 0)),
         "p: stride of columns must be an integer from 1 to 65536, not 0"),
        (lambda: Upsample("u", INPUT, (1, 0)),
         "u: factor of columns must be an integer from 1 to 65536, not 0"),
        (lambda: SumPool("p", INPUT, (2, 3), padding=(0, 0, 1, 3)),
         "p: padding at the right must be an integer from 0 to 2, not 3"),
        (lambda: Threshold("t", INPUT, ints(0, 0).reshape(2, 1), classes=ints(0, 2).reshape(1, 2)),
         "t: its pixels must have the classes 0…1, and each of them"),
        (lambda: Threshold("t", INPUT, ints(0), fraction=17),
         "t: fraction must be an integer from 0 to 16, not 17"),
        (lambda: Threshold("t", INPUT, ints(-(1 << 40))),
         "t: thresholds has values beyond 40 bits"),
        (lambda: Affine("a", "c", ints(1), ints(1, 2)), "a: offset has the wrong shape (2,)"),
        (lambda: Affine("a", "c", ints(1), ints(1), ints(1, 2)),
         "a: popcount_scale has the wrong shape (2,)"),
        (lambda: Affine("a", "c", ints(1), ints(1), rounding=3),
         "a: rounding must be a Rounding, not 3"),
        (lambda: TwoSlope("t", "c", ints(1), ints(1), None),
         "t: rounding must be a Rounding, not None"),
        (lambda: BinaryConv("c", "b", np.ones((1, 1, 1, 1), bool), popcount=1),
         "c: popcount must be a bool, not 1"),
        (lambda: Add("s", "a", "b", -5), "s: bits must be an integer from 1 to 32, not -5"),
        (lambda: Add("s", "a", "B", 5), "s: a source must be the name of a node, not 'B'"),
        (lambda: Concat("s", None, "b"), "s: a source must be the name of a node, not None"),
        (lambda: DynamicThreshold("d", "x", 3),
         "d: a source must be the name of a node, not 3"),
        (lambda: Concat("s", "a", "b").infer(BITS, FeatureMap(2, 3, 1, Int(1))),
         "s: it cannot join maps of 2×3×1 and 2×3×1, or of different types"),
        (lambda: Concat("s", "a", "b").infer(COUNTS, COUNTS),
         "s: it joins bits, codes or integers, not counts"),
        (lambda: Concat("s", "a", "b", ("c", 3)),
         "s: a source must be the name of a node, not 3"),
        (lambda: Concat("s", "a", "b", "cd"), "s: more sources must be names, not 'cd'"),
        (lambda: Concat("s", "a", "b", ("c",)).infer(BITS, BITS, PIXELS),
         "s: it cannot join maps of 2×3×1 and 2×3×1, or of different types"),
        (lambda: GlobalSum("Sum", "x"),
         "a node's name must be lower-case letters, digits and underscores, not 'Sum'"),
        (lambda: Subsample("s", "a", 0), "s: stride must be an integer from 2 to 65536, not 0"),
        (lambda: PadChannels("p", "a", -1, 0),
         "p: channels before must be an integer from 0 to 65536, not -1"),
        (lambda: PadChannels("p", "a", 0, 1.0),
         "p: channels after must be an integer from 0 to 65536, not 1.0"),
        (lambda: AveragePool("p", "a", 3), "p: size must be a power of two, not 3"),
        (lambda: AveragePool("p", "a", 1), "p: size must be an integer from 2 to 65536, not 1"),
    ],
)  # fmt: skip
def test_refuses_node(make, text):
    refuses(make, text=text)


WIDE = FeatureMap(1, 1, 1, UInt(32))


@pytest.mark.parametrize(
    ("node", "x", "text"),
    [
        (CONV_NODE, PIXELS, "conv: the input must be bits, not 8-bit unsigned integers"),
        (CONV_NODE, SCORES, "conv: the input must be bits, not 9-bit integers"),
        (CONV_NODE, COUNTS, "conv: the input must be bits, not counts"),
        (CONV_NODE, FeatureMap(2, 2, 1, Bit()),
         "conv: a kernel of 2×3×1 does not fit a map of 2×2×1"),
        (CONV_NODE, FeatureMap(1, 3, 1, Bit()),
         "conv: a kernel of 2×3×1 does not fit a map of 1×3×1"),
        (CONV_NODE, FeatureMap(2, 3, 2, Bit()),
         "conv: a kernel of 2×3×1 does not fit a map of 2×3×2"),
        (BinaryConv("c", "b", np.ones((1, 3, 3, 1), bool), padding=1), FeatureMap(1, 1, 1, Int(2)),
         "c: the input must be bits, not 2-bit integers"),
        (IntegerConv("i", "b", ints(1).reshape(1, 1, 1, 1)), COUNTS,
         "i: the input must be bits or integers, not counts"),
        (IntegerConv("i", "b", ints(1 << 14).reshape(1, 1, 1, 1)), WIDE,
         "i: its values need 47 bits, more than 32"),
        (IntegerConv("i", "b", ints(1, 1).reshape(1, 1, 1, 2)), PIXELS,
         "i: a kernel of 1×1×2 does not fit a map of 2×3×1"),
        (MaxPool("p", "b", 2), COUNTS, "p: the input must be bits or integers, not counts"),
        (Upsample("u", "b", 2), COUNTS, "u: the input must be bits or integers, not counts"),
        (SumPool("p", "b", 2), COUNTS, "p: the input must be bits or integers, not counts"),
        (MaxPool("p", "b", 3), BITS, "p: a window of 3×3 does not fit a map of 2×3×1"),
        (MaxPool("p", "b", 2, np.array([True, False])), BITS,
         "p: it has 2 channels, its source 1"),
        (Threshold("t", "c", ints(0, 7).reshape(2, 1), classes=ints(0, 1).reshape(1, 2)),
         FeatureMap(2, 1, 1, Counts(6)),
         "t: it has classes for 1×2 pixels, its source has 2×1"),
        (BITS_NODE, COUNTS, "bits: it has 1 channels, its source 2"),
        (SCORES_NODE, BITS, "scores: the input must be counts or integers, not bits"),
        (SCORES_NODE, COUNTS_AND_P,
         "scores: its source delivers the shared popcount, which it does not use"),
        (Threshold("t", "c", ints(0, 0), ints(0, 0)), COUNTS,
         "t: it needs the shared popcount, which its source does not deliver"),
        (Threshold("t", "c", ints(0, 0), ints(0, 0)), FeatureMap(1, 1, 2, UInt(4)),
         "t: it needs the shared popcount, which its source does not deliver"),
        (Threshold("t", "c", ints(0, 8)), COUNTS,
         "t: a threshold lies outside the range of what it is compared with"),
        (Threshold("t", "c", ints(0, -1)), COUNTS,
         "t: a threshold lies outside the range of what it is compared with"),
        (Affine("a", "c", ints(1), ints(-(1 << 31) - 1)), WIDE,
         "a: its values need 33 bits, more than 32"),
        # In 64 bits the largest product would wrap round to -1, and pass.
        (Affine("a", "c", ints((1 << 32) + 1), ints(0)), WIDE,
         "a: its values need 65 bits, more than 63"),
        (LABEL_NODE, FeatureMap(1, 2, 2, Int(9)),
         "label: the scores must be a 1×1 map, not 1×2×2 of 9-bit integers"),
        (LABEL_NODE, COUNTS_AND_P,
         "label: its source delivers the shared popcount, which it does not use"),
        (LABEL_NODE, FeatureMap(1, 1, 1, Counts(3)),
         "label: a single score must be a signed integer, not counts"),
    ],
)  # fmt: skip
def test_refuses_source(node, x, text):
    refuses(lambda: node.infer(x), text=text)


STREAM = FeatureMap(2, 3, 2, Int(9, 4))


FRAME = FeatureMap(1, 1, 6, Int(12, 4))


DYPRELU = DynamicTwoSlope("d", "x", "p", ints(4, 4), ints(1, -1), Rounding(2, 9, 4), first=2)


def test_infer_of_dynamic_nodes():
    bits = FeatureMap(2, 3, 2, Bit())
    assert DynamicThreshold("d", "x", "p", first=4).infer(STREAM, FRAME) == bits
    mean = FeatureMap(1, 1, 1, Int(12, 4))
    assert DynamicThreshold("d", "x", "p", scale=12).infer(STREAM, mean) == bits
    assert DYPRELU.infer(STREAM, FRAME) == STREAM


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: DynamicThreshold("d", "x", "p", scale=0),
         "d: scale must be an integer from 1 to 1073741823, not 0"),
        (lambda: DynamicThreshold("d", "x", "p", first=-1),
         "d: first must be an integer from 0 to 65536, not -1"),
        (lambda: DynamicThreshold("d", "x", "p", first=5).infer(STREAM, FRAME),
         "d: its parameters must be a 1×1 map of at least 7 channels, not 1×1×6"),
        (lambda: DynamicThreshold("d", "x", "p").infer(STREAM, STREAM),
         "d: its parameters must be a 1×1 map of at least 2 channels, not 2×3×2"),
        (lambda: DynamicThreshold("d", "x", "p").infer(STREAM, FeatureMap(1, 1, 2, Int(12, 3))),
         "d: its parameters must have as many fractional bits as its source"),
        (lambda: DynamicThreshold("d", "x", "p").infer(BITS, FRAME),
         "d: the input must be signed integers, not bits"),
        (lambda: DYPRELU.infer(STREAM, FeatureMap(1, 1, 5, Int(12, 4))),
         "d: its parameters must be a 1×1 map of at least 6 channels, not 1×1×5"),
        (lambda: DYPRELU.infer(FeatureMap(2, 3, 3, Int(9, 4)), FRAME),
         "d: it has 2 channels, its source 3"),
        (lambda: DynamicTwoSlope("d", "x", "p", ints(1), ints(1), Rounding(2, 9, 3)).infer(
            FeatureMap(2, 3, 1, Int(9, 4)), FRAME),
         "d: its result must have its source's fractional bits"),
        (lambda: DynamicTwoSlope("d", "x", "p", ints(1), ints(1 << 15), Rounding(2, 9)),
         "d: its slopes need 17 bits, more than 16"),
    ],
)  # fmt: skip
def test_refuses_dynamic_node(make, text):
    refuses(make, text=text)


@pytest.mark.parametrize("x", [SCORES, COUNTS, FeatureMap(1, 1, 2, Bit())])
def test_scores_may_be_of_any_type(x):
    assert LABEL_NODE.infer(x) == FeatureMap(1, 1, 1, UInt(1))


@given(st.integers(0, 2**32 - 1))
def test_clipped_thresholds_give_the_same_bits(seed):
    rng = np.random.default_rng(seed)
    popcount, taps = bool(rng.integers(2)), int(rng.integers(1, 9))
    value_type = Counts(taps, popcount) if popcount else rng.choice([Counts(taps), Int(4), UInt(3)])
    x = FeatureMap(1, 2, 3, value_type)
    kinds = np.array([[0, 1]]) if rng.integers(2) else None
    node = Threshold(
        "t",
        INPUT,
        rng.integers(-40, 41, 3 if kinds is None else (2, 3)),
        rng.integers(-5, 6, 3) if popcount else None,
        int(rng.integers(3)),
        classes=kinds,
    )

    clipped = node.clipped(x)

    clipped.infer(x)
    values = rng.choice([x.type.low, x.type.high, *rng.integers(x.type.low, x.type.high, 3)], 6)
    p = rng.integers(0, taps + 1, (1, 2, 1)) * popcount
    sums = (values.reshape(1, 2, 3) << node.fraction) + p * (
        node.popcount_weights if popcount else 0
    )
    of = (lambda n: n.thresholds) if kinds is None else (lambda n: n.thresholds[kinds])
    assert np.array_equal(sums >= of(node), sums >= of(clipped))
    low, high = node.bounds(x)
    inside = (node.thresholds >= low) & (node.thresholds <= high + 1)
    assert np.array_equal(node.thresholds[inside], clipped.thresholds[inside])
