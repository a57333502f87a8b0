"""A ResNet-20 for CIFAR-10 with random contents, as hardware must be able to take it."""

import numpy as np

from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    ArgMax,
    BinaryConv,
    FeatureMap,
    GlobalSum,
    IntegerConv,
    Network,
    Node,
    PadChannels,
    Rounding,
    Subsample,
    Threshold,
    TwoSlope,
    UInt,
)


GRID = Rounding(10, 16, 8)
"""Streams have 16 bits, 8 of them fractional; constants 10 more, which are rounded away."""


class _Builder:
    def __init__(self, rng: np.random.Generator, frame: FeatureMap) -> None:
        self.rng = rng
        self.nodes: list[Node] = []
        self.maps = {INPUT: frame}

    def add(self, node: Node) -> str:
        self.nodes.append(node)
        self.maps[node.name] = node.infer(*(self.maps[name] for name in node.sources))
        return node.name

    def affine(self, name: str, source: str, *, spread: float) -> str:
        """Affine that turns values with this standard deviation into some with that of 1."""
        rng, x = self.rng, self.maps[source]
        unit = 1 << GRID.shift + GRID.fraction
        carried = getattr(x.type, "popcount", False)
        scale = rng.integers(unit // 2, unit, x.channels) / spread * rng.choice([-1, 1], x.channels)
        offset, classes = rng.integers(-unit, unit, x.channels), None
        if carried:
            classes = border_classes(x.height, x.width)
            offset = offset - np.round(scale * x.type.taps / 2).astype(np.int64)
            offset = offset + rng.integers(-unit // 4, unit // 4, (classes.max() + 1, x.channels))
        return self.add(
            Affine(
                name,
                source,
                scale=np.round(scale).astype(np.int64),
                offset=offset,
                popcount_scale=np.round(scale * rng.uniform(-0.2, 0.2, x.channels)).astype(int)
                if carried
                else None,
                classes=classes,
                rounding=GRID,
            )
        )

    def block(self, name: str, source: str, filters: int, stride: int) -> str:
        """Binary convolution with a shortcut around it, and two slopes."""
        rng, x = self.rng, self.maps[source]
        thresholds = rng.integers(-128, 128, x.channels)
        bits = self.add(Threshold(f"{name}_bits", source, thresholds))
        weights = rng.random((filters, 3, 3, x.channels)) < 0.5
        conv = self.add(BinaryConv(name, bits, weights, popcount=True, stride=stride, padding=1))
        spread = float(np.sqrt(9 * x.channels) / 2)
        norm = self.affine(f"{name}_norm", conv, spread=spread)
        if stride > 1:
            source = self.add(Subsample(f"{name}_sub", source, stride))
        if filters > x.channels:
            before = (filters - x.channels) // 2
            after = filters - x.channels - before
            source = self.add(PadChannels(f"{name}_pad", source, before, after))
        both = self.add(Add(f"{name}_add", norm, source, GRID.bits))
        positive, negative = rng.integers(700, 1100, filters), rng.integers(100, 400, filters)
        return self.add(TwoSlope(f"{name}_act", both, positive, negative, GRID))


def border_classes(height: int, width: int) -> np.ndarray:
    """Which of nine classes a pixel is of, for windows that reach one pixel outside."""
    rows, columns = (np.r_[0, [1] * (side - 2), 2] for side in (height, width))
    return 3 * rows[:, None] + columns


def random_resnet(
    seed: int,
    *,
    side: int = 32,
    width: int = 16,
    blocks: int = 3,
    classes: int = 10,
) -> Network:
    """ResNet of three stages of so many blocks of two binary convolutions: ResNet-20 with three."""
    rng = np.random.default_rng(seed)
    frame = FeatureMap(side, side, 3, UInt(8))
    net = _Builder(rng, frame)
    weights = rng.integers(-127, 128, (width, 3, 3, 3))
    x = net.affine("stem_norm", net.add(IntegerConv("stem", INPUT, weights, padding=1)), spread=6e4)
    for stage in range(3):
        for n in range(2 * blocks):
            stride = 2 if stage and not n else 1
            x = net.block(f"stage{stage + 1}_conv{n + 1}", x, width << stage, stride)
    sums = net.add(GlobalSum("sums", x))
    weights = rng.integers(-15, 16, (classes, 1, 1, net.maps[sums].channels))
    fc = net.add(IntegerConv("fc", sums, weights))
    net.add(
        ArgMax(
            "label", net.add(Affine("scores", fc, np.ones(classes, int), np.zeros(classes, int)))
        )
    )
    labels = tuple(f"class {n}" for n in range(classes))
    return Network(f"resnet-{6 * blocks + 2}", frame, tuple(net.nodes), labels)
