"""Small networks with random contents, for tests of whole accelerators."""

from enum import Enum

import numpy as np

from tests.residuals import residual_case
from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    ArgMax,
    BinaryConv,
    Bit,
    Concat,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    Gate,
    GlobalSum,
    Int,
    IntegerConv,
    MaxPool,
    Network,
    PadChannels,
    Rounding,
    Subsample,
    Threshold,
    TwoSlope,
    UInt,
)
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.nn.grid import Grid


# Methods, numbers of blocks, and seeds with which every threshold and shift decides something. With
# most seeds there are some that do not: the bits behind them are the same for all frames.
DYNAMIC_MODELS = {
    "row": (ResidualMethod.DYBNN, 2, 68),
    "separate": (ResidualMethod.DYBNN_SEPARATE, 1, 0),
    "separate-row": (ResidualMethod.DYBNN_SEPARATE, 2, 81),
    "mean": (ResidualMethod.SIMAN_MEAN, 2, 11),
}


def random_mlp(seed, *, side=4, widths=(6, 5), classes=3, gate=Gate.XNOR, popcount=False):
    """MLP on frames of side × side pixels whose thresholds lie where they decide something."""
    rng = np.random.default_rng(seed)
    nodes = [Threshold("input_bits", INPUT, np.array([128]))]
    shape = (side, side, 1)
    layers = (*widths, classes)
    for n, filters in enumerate(layers, 1):
        weights = rng.random((filters, *shape)) < 0.5
        conv = BinaryConv(f"fc{n}", nodes[-1].name, weights, gate=gate, popcount=popcount)
        term = rng.integers(-60, 60, filters) if popcount else None
        middle = conv.taps // (2 if gate is Gate.XNOR else 4)
        nodes.append(conv)
        if n < len(layers):
            fraction = 8 if popcount else 0
            thresholds = (middle << fraction) + rng.integers(-1, 2, filters) * (1 << fraction)
            inverted = rng.random(filters) < 0.3
            nodes.append(Threshold(f"act{n}", conv.name, thresholds, term, fraction, inverted))
        shape = (1, 1, filters)
    offsets = rng.integers(-3, 4, classes)
    nodes.append(Affine("scores", conv.name, np.full(classes, 2), offsets, term))
    nodes.append(ArgMax("label", "scores"))
    return Network(
        name=f"random-mlp-{seed}",
        input=FeatureMap(side, side, 1, UInt(8)),
        nodes=tuple(nodes),
        labels=tuple(f"class {n}" for n in range(classes)),
    )


def random_conv_net(seed, *, side=7, channels=2, classes=3):
    """Small convolutional chain: padding, strides, pools, integer layers, P, as the seed has it."""
    rng = np.random.default_rng(seed)
    x = FeatureMap(side, side, int(rng.integers(1, channels + 1)), UInt(8))
    frame = x
    nodes = []

    def add(node):
        nonlocal x
        nodes.append(node)
        x = node.infer(x)

    def source():
        return nodes[-1].name if nodes else INPUT

    integer_input = bool(rng.integers(2))
    if not integer_input:
        add(Threshold("input_bits", INPUT, rng.integers(60, 200, x.channels)))
    for n in range(1, 3):
        kernel = int(rng.choice([k for k in (1, 2, 3, 5) if k <= min(x.height, x.width)]))
        filters = int(rng.choice([2, 4, 6]))
        windows = {"stride": int(rng.integers(1, 3)), "padding": int(rng.integers(kernel))}
        shape = (filters, kernel, kernel, x.channels)
        if n == 1 and integer_input:
            signs = rng.integers(0, 2, shape) * 2 - 1
            weights = signs if rng.integers(2) else rng.integers(-127, 128, shape)
            add(IntegerConv(f"conv{n}", source(), weights, **windows))
        else:
            gate = Gate.XNOR if rng.integers(2) else Gate.AND
            popcount = bool(rng.integers(2))
            weights = rng.integers(0, 2, shape).astype(bool)
            add(BinaryConv(f"conv{n}", source(), weights, gate=gate, popcount=popcount, **windows))
        add(deciding_threshold(rng, f"act{n}", source(), x))
        if min(x.height, x.width) >= 4 and rng.integers(2):
            inverted = rng.integers(0, 2, filters).astype(bool) if rng.integers(2) else None
            add(MaxPool(f"pool{n}", source(), 2, inverted))
    if rng.integers(2):
        add(IntegerConv("fc", source(), rng.integers(-127, 128, (classes, *x.shape))))
    else:
        add(BinaryConv("fc", source(), rng.integers(0, 2, (classes, *x.shape)).astype(bool)))
        add(Affine("scores", "fc", np.full(classes, 2), rng.integers(-3, 4, classes)))
    add(ArgMax("label", source()))
    labels = tuple(f"class {n}" for n in range(classes))
    return Network(f"random-conv-{seed}", frame, tuple(nodes), labels)


class First(Enum):
    """What is fed with a network's input."""

    CONV = "conv"
    SIGNS = "signs"
    DENSE = "dense"
    THRESHOLD = "threshold"
    AFFINE = "affine"
    STREAM = "stream"
    BINARY = "binary"
    POOL = "pool"

    def takes(self, value_type):
        """Whether the contract lets it take such values."""
        match self:
            case First.CONV | First.SIGNS | First.DENSE:
                return True
            case First.THRESHOLD | First.AFFINE:
                return not isinstance(value_type, Bit)
            case First.STREAM:
                return isinstance(value_type, Int)
            case First.BINARY | First.POOL:
                return isinstance(value_type, Bit)


def input_net(value_type, first, seed=0):
    """Small network on frames of 4 × 5 × 2 values of any type, with ``first`` in front."""
    rng = np.random.default_rng(seed)
    frame = x = FeatureMap(4, 5, 2, value_type)
    nodes = []

    def add(node):
        nonlocal x
        nodes.append(node)
        x = node.infer(*[x] * len(node.sources))

    span = value_type.high - value_type.low
    match first:
        case First.CONV:
            add(IntegerConv("first", INPUT, rng.integers(-7, 8, (4, 3, 3, 2)), padding=1))
        case First.SIGNS:
            signs = rng.integers(0, 2, (4, 3, 3, 2)) * 2 - 1
            add(IntegerConv("first", INPUT, signs, padding=1))
        case First.DENSE:
            add(IntegerConv("first", INPUT, rng.integers(-7, 8, (4, 4, 5, 2))))
        case First.THRESHOLD:
            thresholds = value_type.low + np.array([span // 2, (span + 1) // 2])
            add(Threshold("first", INPUT, thresholds, inverted=np.array([True, False])))
        case First.AFFINE:
            add(Affine("first", INPUT, np.array([3, -2]), np.array([-1, 1])))
        case First.STREAM:
            add(TwoSlope("first", INPUT, np.array([4, 5]), np.array([-2, 7]), Rounding(2, 16)))
            add(Add("sum", "first", "first", 17))
        case First.BINARY:
            weights = rng.random((4, 3, 3, 2)) < 0.5
            add(BinaryConv("first", INPUT, weights, popcount=True, padding=1))
        case First.POOL:
            add(MaxPool("first", INPUT, 2, np.array([True, False])))
    if isinstance(x.type, Int):
        add(Threshold("bits", nodes[-1].name, _medians(rng, frame, nodes, x)))
    elif not isinstance(x.type, Bit):
        add(deciding_threshold(rng, "bits", nodes[-1].name, x))
    add(BinaryConv("fc", nodes[-1].name, rng.random((3, *x.shape)) < 0.5))
    add(Affine("scores", "fc", np.full(3, 2), rng.integers(-3, 4, 3)))
    add(ArgMax("label", "scores"))
    return Network(f"{first.value}-input", frame, tuple(nodes), tuple("abc"))


def _medians(rng, frame, nodes, x):
    """Medians of each channel of integers that the last of some nodes delivers."""
    last = nodes[-1].name
    end = IntegerConv("end", last, np.ones((1, *x.shape), int))
    network = Network("begun", frame, (*nodes, end), ())
    span = frame.type.low, frame.type.high
    frames = rng.integers(*span, (20, *frame.shape), endpoint=True)
    values = golden(network, frames, keep=[last]).maps[last].numpy()
    return np.ceil(np.median(values, axis=(0, 1, 2))).astype(int)


class Result(Enum):
    """What a network may deliver."""

    ONE_LABELLED = "one score, and the label that its sign is"
    ONE = "one score"
    INTEGERS = "integers"
    COUNTS = "counts"
    BITS = "bits"


def result_net(result):
    """Small network on frames of 4 × 5 × 2 bytes that delivers such a ``result``."""
    rng = np.random.default_rng(5)
    scores = 1 if result in (Result.ONE_LABELLED, Result.ONE) else 5
    nodes = [
        Threshold("bits", INPUT, rng.integers(100, 150, 2)),
        BinaryConv("fc", "bits", rng.random((scores, 4, 5, 2)) < 0.5),
    ]
    if result is Result.BITS:
        nodes.append(Threshold("decisions", "fc", np.full(scores, 20)))
    elif result is not Result.COUNTS:
        nodes.append(Affine("scores", "fc", np.full(scores, 2), np.full(scores, -40)))
    if result is Result.ONE_LABELLED:
        nodes.append(ArgMax("label", "scores"))
    labels = ("no", "yes") if result is Result.ONE_LABELLED else ()
    return Network(result.name.lower(), FeatureMap(4, 5, 2, UInt(8)), tuple(nodes), labels)


def deciding_threshold(rng, name, source, x):
    """Threshold with random border classes, in the middle of what ``x`` can be."""
    term = rng.integers(-60, 60, x.channels) if getattr(x.type, "popcount", False) else None
    fraction = 0 if term is None else 4
    node = Threshold(name, source, np.zeros(x.channels, int), term, fraction)
    low, high = node.bounds(x)
    rows, columns = (np.sort(rng.integers(0, 3, n)) for n in (x.height, x.width))
    kinds, classes = np.unique(3 * rows[:, None] + columns, return_inverse=True)
    classes = classes.reshape(x.height, x.width)
    spread = np.maximum((high - low) // 8, 1)
    thresholds = (low + high) // 2 + rng.integers(-spread, spread + 1, (len(kinds), x.channels))
    inverted = rng.integers(0, 2, x.channels).astype(bool) if rng.integers(2) else None
    if rng.integers(2):
        return Threshold(name, source, thresholds[0], term, fraction, inverted)
    return Threshold(name, source, thresholds, term, fraction, inverted, classes)


def residual_net(*, side=6, stride=1, filters=4):
    """Convolution, and a block with a shortcut that a user can follow."""
    rng = np.random.default_rng(side)
    grid = Rounding(3, 10)
    frame = FeatureMap(side, side, 2, UInt(8))
    short = "stem"
    nodes = [
        IntegerConv("conv0", INPUT, rng.integers(-8, 9, (4, 3, 3, 2)), padding=1),
        Affine("stem", "conv0", rng.integers(-3, 4, 4), rng.integers(-99, 99, 4), rounding=grid),
        Threshold("bits", "stem", rng.integers(-99, 99, 4)),
        BinaryConv("conv1", "bits", rng.random((filters, 3, 3, 4)) < 0.5, stride, 1, popcount=True),
        Affine(
            "norm",
            "conv1",
            rng.integers(-99, 99, filters),
            rng.integers(-999, 999, filters),
            rng.integers(-9, 9, filters),
            rounding=grid,
        ),
    ]
    if stride > 1:
        nodes.append(Subsample("sub", short, stride))
        short = "sub"
    if filters > 4:
        nodes.append(PadChannels("pad", short, 2, filters - 6))
        short = "pad"
    classes = 3
    nodes += [
        Add("sum", "norm", short, 10),
        TwoSlope(
            "act", "sum", rng.integers(4, 9, filters), rng.integers(0, 5, filters), Rounding(3, 10)
        ),
        GlobalSum("total", "act"),
        IntegerConv("fc", "total", rng.integers(-9, 10, (classes, 1, 1, filters))),
        ArgMax("label", "fc"),
    ]
    return Network("residual", frame, tuple(nodes), tuple("abc"))


def dynamic_net(*, side=6, moves=True):
    """`residual_net` whose thresholds and shifts follow from the frame, if it ``moves`` them."""
    static = residual_net(side=side)
    rng = np.random.default_rng(side)
    by_name = {node.name: node for node in static.nodes}
    channels, grid = 4, by_name["stem"].rounding
    ones = np.ones(3 * channels, int)
    excite = rng.integers(-40, 41, (3 * channels, 1, 1, 4)) * moves
    # The static thresholds come with the dynamic ones.
    offset = np.append(by_name["bits"].thresholds << 5, np.zeros(2 * channels, int))
    hyper = (
        GlobalSum("sums", "stem"),
        IntegerConv("squeeze", "sums", rng.integers(-9, 10, (4, 1, 1, channels))),
        Affine("hidden", "squeeze", ones[:4], rng.integers(-99, 99, 4), rounding=Rounding(6, 10)),
        TwoSlope("relu", "hidden", ones[:4], 0 * ones[:4], Rounding(0, 10)),
        IntegerConv("excite", "relu", excite),
        Affine("shifts", "excite", ones, offset, rounding=Rounding(5, grid.bits + 1)),
    )
    act = by_name["act"]
    replaced = {
        "bits": (*hyper, DynamicThreshold("bits", "stem", "shifts")),
        "act": (
            DynamicTwoSlope(
                "act", "sum", "shifts", act.positive, act.negative, act.rounding, channels
            ),
        ),
    }
    nodes = [new for node in static.nodes for new in replaced.get(node.name, (node,))]
    return Network("dynamic", static.input, tuple(nodes), static.labels)


def dynamic_model(name):
    """Lowered model on frames of 4 × 4 pixels; of its blocks, the second one has a stride."""
    method, blocks, seed = DYNAMIC_MODELS[name]
    case = residual_case(
        seed,
        shape=(4, 4, 1),
        grid=Grid(10, 4),
        method=method.value,
        first={"channels": 4, "kernel": 1},
        blocks=[[4, 1, 3], [4, 2, 3]][:blocks],
    )
    return lower(case.model)


def two_branches():
    """Convolutions of different kernels that share the input, side by side, and added to itself."""
    rng = np.random.default_rng(1)
    grid = Rounding(2, 9)
    nodes = (
        IntegerConv("conv0", INPUT, rng.integers(-8, 9, (4, 1, 1, 2))),
        Affine("norm0", "conv0", rng.integers(-3, 4, 4), rng.integers(-99, 99, 4), rounding=grid),
        IntegerConv("conv1", INPUT, rng.integers(-8, 9, (6, 3, 3, 2)), padding=1),
        Affine("norm1", "conv1", rng.integers(-3, 4, 6), rng.integers(-99, 99, 6), rounding=grid),
        Concat("both", "norm0", "norm1"),
        Add("twice", "both", "both", 10),
        GlobalSum("total", "twice"),
        IntegerConv("fc", "total", rng.integers(-9, 10, (3, 1, 1, 10))),
        ArgMax("label", "fc"),
    )
    return Network("branches", FeatureMap(4, 3, 2, UInt(8)), nodes, tuple("abc"))


def joined_bits():
    """Two branches of bits, of different kernels, joined in front of a binary convolution."""
    rng = np.random.default_rng(3)
    branches = [
        (
            IntegerConv(f"conv{n}", INPUT, rng.integers(-8, 9, (filters, side, side, 2)),
                        padding=side // 2),
            Threshold(f"bits{n}", f"conv{n}", rng.integers(-99, 99, filters)),
        )
        for n, (filters, side) in enumerate([(4, 1), (6, 3)])
    ]  # fmt: skip
    nodes = (
        *branches[0],
        *branches[1],
        Concat("both", "bits0", "bits1"),
        BinaryConv("conv2", "both", rng.random((4, 3, 3, 10)) < 0.5, padding=1),
        Threshold("bits2", "conv2", rng.integers(40, 51, 4)),
        Concat("again", "bits2", "bits0", ("bits1", "bits2")),
        BinaryConv("fc", "again", rng.random((3, 4, 3, 18)) < 0.5),
        ArgMax("label", "fc"),
    )
    return Network("joined", FeatureMap(4, 3, 2, UInt(8)), nodes, tuple("abc"))


def residual_mlp():
    """Dense layers with a shortcut around one of them."""
    rng = np.random.default_rng(2)
    grid = Rounding(1, 9)
    nodes = (
        Threshold("input_bits", INPUT, np.array([128])),
        BinaryConv("fc1", "input_bits", rng.random((6, 4, 4, 1)) < 0.5),
        Affine("norm1", "fc1", rng.integers(-9, 9, 6), rng.integers(-99, 99, 6), rounding=grid),
        Threshold("bits", "norm1", rng.integers(-50, 50, 6)),
        BinaryConv("fc2", "bits", rng.random((6, 1, 1, 6)) < 0.5, popcount=True),
        Affine(
            "norm2", "fc2", rng.integers(-9, 9, 6), rng.integers(-99, 99, 6),
            rng.integers(-9, 9, 6), rounding=grid,
        ),
        Add("sum", "norm2", "norm1", 10),
        TwoSlope("act", "sum", rng.integers(2, 5, 6), rng.integers(0, 3, 6), Rounding(2, 10)),
        ArgMax("label", "act"),
    )  # fmt: skip
    return Network("dense", FeatureMap(4, 4, 1, UInt(8)), nodes, tuple("abcdef"))
