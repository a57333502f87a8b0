"""Random residual networks."""

import numpy as np

from tests.random_nodes import random_affine, random_threshold
from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Concat,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    Gate,
    GlobalSum,
    IntegerConv,
    MaxPool,
    Network,
    Node,
    PadChannels,
    Rounding,
    Subsample,
    TwoSlope,
    UInt,
)


class _Residual:
    """Nodes of a random residual network, on a stream of ``bits`` with a binary point."""

    def __init__(
        self, rng: np.random.Generator, frame: FeatureMap, *, dynamic: bool = False
    ) -> None:
        self.rng = rng
        self.dynamic = dynamic
        self.nodes: list[Node] = []
        self.maps = {INPUT: frame}
        self.streams: list[str] = []  # what the blocks before were fed with
        self.bits = int(rng.integers(5, 14))
        self.fraction = int(rng.integers(0, self.bits - 2))

    def add(self, node: Node) -> str:
        self.nodes.append(node)
        self.maps[node.name] = node.infer(*(self.maps[name] for name in node.sources))
        return node.name

    def affine(self, name: str, source: str) -> str:
        """Affine whose values use the stream's range, and sometimes leave it."""
        rng, x = self.rng, self.maps[source]
        carried = getattr(x.type, "popcount", False)
        shift = int(rng.integers(0, 9))
        reach = (1 << (self.bits + shift)) // max(1, x.type.high)
        classes = None
        if rng.random() < 0.6:
            _, classes = np.unique(rng.integers(0, 4, (x.height, x.width)), return_inverse=True)
            classes = classes.reshape(x.height, x.width)
        shape = (x.channels,) if classes is None else (classes.max() + 1, x.channels)
        offset = rng.integers(-(1 << (self.bits + shift)), 1 << (self.bits + shift), shape)
        return self.add(
            Affine(
                name,
                source,
                scale=rng.integers(-reach - 1, reach + 2, x.channels),
                offset=offset,
                popcount_scale=rng.integers(-reach - 1, reach + 2, x.channels) if carried else None,
                classes=classes,
                rounding=Rounding(shift, self.bits, self.fraction),
            )
        )

    def two_slope(self, name: str, source: str) -> str:
        """Slopes of both signs, up to about 2; some of them exactly 1."""
        rng, channels = self.rng, self.maps[source].channels
        shift = int(rng.integers(0, 9))
        if self.dynamic and rng.random() < 0.5:
            # Shifts that follow from these very values, or from others that were there before.
            of = str(rng.choice([source, *self.streams]))
            first = int(rng.integers(0, 3))
            parameters = self.parameters(f"{name}_frame", of, first + 2 * channels)
            slopes = rng.integers(-(2 << shift), (2 << shift) + 1, (2, channels))
            rounding = Rounding(shift, self.bits, self.fraction)
            return self.add(DynamicTwoSlope(name, source, parameters, *slopes, rounding, first))
        positive, negative = rng.integers(-(2 << shift), (2 << shift) + 1, (2, channels))
        positive = np.where(rng.random(channels) < 0.5, 1 << shift, positive)
        rounding = Rounding(shift, self.bits, self.fraction)
        return self.add(TwoSlope(name, source, positive, negative, rounding))

    def parameters(self, name: str, source: str, channels: int) -> str:
        """A map of so many parameters for each frame, from the sums of ``source``."""
        rng = self.rng
        x = self.add(GlobalSum(f"{name}_sums", source))
        if rng.random() < 0.7:
            hidden = int(rng.integers(1, 5))
            weights = rng.integers(-20, 21, (hidden, 1, 1, self.maps[x].channels))
            x = self.affine(f"{name}_hidden", self.add(IntegerConv(f"{name}_squeeze", x, weights)))
            ones = np.ones(hidden, np.int64)
            rounding = Rounding(0, self.bits, self.fraction)
            x = self.add(TwoSlope(f"{name}_relu", x, ones, 0 * ones, rounding))
        weights = rng.integers(-20, 21, (channels, 1, 1, self.maps[x].channels))
        return self.affine(name, self.add(IntegerConv(f"{name}_excite", x, weights)))

    def dynamic_threshold(self, name: str, source: str) -> DynamicThreshold:
        """Thresholds of each channel, or the mean of the frame."""
        x = self.maps[source]
        if self.rng.random() < 0.3:
            ones = np.ones((1, 1, 1, x.channels), np.int64)
            sums = self.add(GlobalSum(f"{name}_sums", source))
            total = self.add(IntegerConv(f"{name}_total", sums, ones))
            one = np.ones(1, np.int64)
            rounding = Rounding(0, self.maps[total].type.bits, self.fraction)
            total = self.add(Affine(f"{name}_mean", total, one, 0 * one, rounding=rounding))
            return DynamicThreshold(name, source, total, scale=x.size)
        first = int(self.rng.integers(0, 3))
        parameters = self.parameters(f"{name}_frame", source, first + x.channels)
        return DynamicThreshold(name, source, parameters, first)

    def convolve(self, name: str, source: str, filters: int, stride: int) -> str:
        """Bits of ``source``, a binary convolution that keeps its size, and an affine."""
        rng, x = self.rng, self.maps[source]
        if self.dynamic and rng.random() < 0.8:
            bits = self.add(self.dynamic_threshold(f"{name}_bits", source))
        else:
            bits = self.add(random_threshold(rng, f"{name}_bits", source, x))
        side = 3 if rng.random() < 0.7 else 1
        gate = Gate.XNOR if rng.random() < 0.5 else Gate.AND
        weights = rng.random((filters, side, side, x.channels)) < 0.5
        popcount = bool(rng.random() < 0.5)
        conv = BinaryConv(
            name, bits, weights, gate=gate, popcount=popcount, stride=stride, padding=side // 2
        )
        return self.affine(f"{name}_norm", self.add(conv))

    def shortcut(self, name: str, source: str, filters: int, stride: int) -> str:
        """What is added to a convolution of ``source`` with so many filters."""
        rng, x = self.rng, self.maps[source]
        if stride == 1 and filters == x.channels:
            return source
        even = x.height % stride == x.width % stride == 0
        if filters < x.channels or (even and rng.random() < 0.5):
            if stride > 1:
                size = stride if even else 1
                if size == 1:
                    source = self.add(Subsample(f"{name}_sub", source, stride))
                else:
                    source = self.add(AveragePool(f"{name}_pool", source, size))
            weights = rng.integers(-20, 21, (filters, 1, 1, x.channels))
            return self.affine(
                f"{name}_norm", self.add(IntegerConv(f"{name}_conv", source, weights))
            )
        if stride > 1:
            source = self.add(Subsample(f"{name}_sub", source, stride))
        if filters > x.channels:
            before = int(rng.integers(0, filters - x.channels + 1))
            after = filters - x.channels - before
            source = self.add(PadChannels(f"{name}_pad", source, before, after))
        return source

    def block(self, name: str, source: str) -> str:
        """Convolution and shortcut, added up, and two slopes; sometimes twice as many channels."""
        rng, x = self.rng, self.maps[source]
        stride = 2 if min(x.height, x.width) >= 4 and rng.random() < 0.4 else 1
        if stride == 1 and rng.random() < 0.2:
            halves = [self.block_end(f"{name}{half}", source, x.channels, 1) for half in ("a", "b")]
            return self.two_slope(f"{name}_act", self.add(Concat(f"{name}_join", *halves)))
        filters = int(rng.choice([x.channels, 2 * x.channels]))
        return self.two_slope(f"{name}_act", self.block_end(name, source, filters, stride))

    def block_end(self, name: str, source: str, filters: int, stride: int) -> str:
        """Sum of a convolution and a shortcut."""
        conv = self.convolve(name, source, filters, stride)
        return self.add(
            Add(
                f"{name}_add",
                conv,
                self.shortcut(f"{name}_short", source, filters, stride),
                self.bits,
            )
        )


def random_residual(seed: int, blocks: int = 2, *, dynamic: bool = False) -> Network:
    """Small residual network on pixels, the same for the same seed.

    One that is ``dynamic`` has thresholds and shifts that follow from the frame.
    """
    rng = np.random.default_rng(seed)
    frame = FeatureMap(*(int(side) for side in rng.integers(3, 9, 2)), 3, UInt(8))
    net = _Residual(rng, frame, dynamic=dynamic)
    channels = int(rng.choice([2, 4, 6]))
    weights = rng.integers(-128, 128, (channels, 3, 3, 3))
    x = net.affine("stem_norm", net.add(IntegerConv("stem", INPUT, weights, padding=1)))
    x = net.two_slope("stem_act", x)
    # Of its own numbers, so that the rest stays the same.
    if np.random.default_rng([seed, 1]).random() < 0.3:
        x = net.add(MaxPool("stem_pool", x, 3, stride=2, padding=1))
    for n in range(blocks):
        net.streams.append(x)
        x = net.block(f"block{n}", x)
    x = net.add(GlobalSum("sums", x))
    classes = int(rng.integers(2, 6))
    weights = rng.integers(-100, 101, (classes, 1, 1, net.maps[x].channels))
    net.add(random_affine(rng, "scores", net.add(IntegerConv("fc", x, weights)), net.maps["fc"]))
    net.add(ArgMax("label", "scores"))
    labels = tuple(f"class {n}" for n in range(classes))
    return Network(name=f"residual-{seed}", input=frame, nodes=tuple(net.nodes), labels=labels)
