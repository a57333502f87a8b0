"""Random networks, and models of them, for property tests."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from tests.residuals import ResidualCase, residual_case
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
    Network,
    Node,
    PadChannels,
    Provenance,
    Rounding,
    Subsample,
    Threshold,
    TwoSlope,
    UInt,
)
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.shortcuts import Shortcut
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.statistics import measure_statistics


def random_network(seed: int) -> Network:
    """Small network of any shape and with every kind of node, the same for the same seed."""
    rng = np.random.default_rng(seed)
    frame = FeatureMap(
        *(int(side) for side in rng.integers(1, 6, 3)),
        rng.choice([UInt(8), UInt(3), Int(5), Bit()]),
    )
    nodes: list[Node] = []
    x = frame

    def add(node: Node) -> None:
        nonlocal x
        nodes.append(node)
        x = node.infer(x)

    def source() -> str:
        return nodes[-1].name if nodes else INPUT

    hidden = int(rng.integers(0, 3))
    for n in range(hidden + 1):
        integers = not isinstance(x.type, Counts) and len(nodes) == 0 and rng.random() < 0.3
        if not integers and not isinstance(x.type, Bit):
            add(random_threshold(rng, f"bits{n}", source(), x))
            side = min(x.height, x.width)
            if side >= 2 and rng.random() < 0.3:
                inverted = rng.random(x.channels) < 0.5 if rng.random() < 0.5 else None
                add(MaxPool(f"pool{n}", source(), int(rng.integers(2, side + 1)), inverted))
        whole = n == hidden
        kernel = [side if whole else int(rng.integers(1, side + 1)) for side in x.shape[:2]]
        filters = int(rng.integers(1, 20))
        shape = (filters, *kernel, x.channels)
        windows = {
            "stride": int(rng.integers(1, 4)),
            "padding": 0 if whole else int(rng.integers(0, min(kernel))),
        }
        if integers:
            add(IntegerConv(f"conv{n}", source(), rng.integers(-128, 128, shape), **windows))
        else:
            gate = Gate.XNOR if rng.random() < 0.5 else Gate.AND
            weights, popcount = rng.random(shape) < 0.5, bool(rng.random() < 0.5)
            add(BinaryConv(f"conv{n}", source(), weights, gate=gate, popcount=popcount, **windows))
    add(random_affine(rng, "scores", nodes[-1].name, x))
    accuracy = float(rng.random())
    labels = ()
    if rng.random() < 0.8:
        add(ArgMax("label", "scores"))
        labels = tuple(f"class {n}" for n in range(max(2, filters)))
    return Network(
        name=f"random-{seed}",
        input=frame,
        nodes=tuple(nodes),
        labels=labels,
        provenance=Provenance(recipe="none", seed=seed, float_accuracy=accuracy),
    )


def random_threshold(rng: np.random.Generator, name: str, source: str, x: FeatureMap) -> Threshold:
    """Threshold with values over the whole range that is allowed for ``x``."""
    carried = getattr(x.type, "popcount", False)
    node = Threshold(
        name,
        source,
        thresholds=np.zeros(x.channels, np.int64),
        popcount_weights=rng.integers(-300, 300, x.channels) if carried else None,
        fraction=int(rng.integers(0, 9)) if carried else 0,
        inverted=rng.random(x.channels) < 0.5 if rng.random() < 0.5 else None,
    )
    low, high = node.bounds(x)
    if rng.random() < 0.5:
        return replace(node, thresholds=rng.integers(low, high + 1, endpoint=True))
    _, classes = np.unique(rng.integers(0, 4, (x.height, x.width)), return_inverse=True)
    shape = classes.max() + 1, x.channels
    return replace(
        node,
        thresholds=rng.integers(low, high + 1, shape, endpoint=True),
        classes=classes.reshape(x.height, x.width),
    )


def random_affine(rng: np.random.Generator, name: str, source: str, x: FeatureMap) -> Affine:
    """Affine with scales of both signs and zero, so that scores often tie."""
    carried = getattr(x.type, "popcount", False)
    return Affine(
        name,
        source,
        scale=rng.integers(-3, 4, x.channels),
        offset=rng.integers(-9, 10, x.channels),
        popcount_scale=rng.integers(-3, 4, x.channels) if carried else None,
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


BLOCKS = [[4, 1, 3], [6, 2, 3], [6, 1, 1], [12, 1, 3]]
"""Channels, stride and kernel of each."""
REPEATING = [[4, 2, 3], [8, 1, 1], [8, 1, 3], [16, 1, 5]]


def random_model(seed: int, **changes: Any) -> ResidualCase:
    """Small residual model whose parameters are far from their first values."""
    rng = np.random.default_rng(seed)
    options = {
        "method": list(ResidualMethod)[rng.integers(4)].value,
        "first": {"channels": 4},
        "blocks": BLOCKS,
        "shortcut": list(Shortcut)[rng.integers(2)].value,
        "shape": (int(rng.choice([4, 6])), int(rng.choice([4, 8])), 3),
        "grid": Grid(int(rng.integers(6, 17)), int(rng.integers(1, 9)), int(rng.integers(0, 11))),
    }
    return residual_case(seed, **options | changes)


def model_of_any_form(seed: int) -> ResidualCase:
    """The same with first layers, shortcuts and blocks of all kinds."""
    rng = np.random.default_rng([seed, 1])
    shortcut = list(Shortcut)[rng.integers(4)]
    activated, pooled = (bool(n) for n in rng.integers(2, size=2))
    kernel, stride = int(rng.choice([1, 3, 5, 7])), int(rng.integers(1, 3))
    sides = rng.integers(5, 10, 2)
    if shortcut in (Shortcut.AVERAGE, Shortcut.REPEAT):
        sides = 2 * stride * (1 + pooled) * rng.integers(1, 4, 2)
    return random_model(
        seed,
        first={
            "channels": 4, "kernel": kernel, "stride": stride,
            "activated": activated, "pooled": pooled,
        },
        blocks=REPEATING if shortcut is Shortcut.REPEAT else BLOCKS,
        shortcut=shortcut.value,
        classic=bool(rng.integers(2)),
        shape=(*map(int, sides), 3),
    )  # fmt: skip


def model_of_few_blocks(seed: int) -> ResidualCase:
    """One or two blocks of any method and size, on so few pixels that hardware can be simulated.

    Its batch norms have the statistics of random frames, so that most bits depend on the frame.
    """
    rng = np.random.default_rng([seed, 17])
    method = list(ResidualMethod)[rng.integers(len(ResidualMethod))]
    # With dynamic thresholds there are no binary shortcuts and no classic blocks.
    shortcut = list(Shortcut)[rng.integers(3 if method.dynamic else 4)]
    classic = bool(0 if method.dynamic else rng.integers(2))
    channels, sides = int(rng.integers(1, 5)), rng.integers(4, 7, 2)
    first = {
        "channels": channels,
        "kernel": int(rng.choice([1, 3])),
        "activated": bool(rng.integers(2)),
    }
    blocks, shape = [], sides
    for _ in range(rng.integers(1, 3)):
        # Means are of 2 × 2 pixels.
        halves = shortcut in (Shortcut.PAD, Shortcut.BINARY) or not (shape % 2).any()
        stride = int(rng.integers(1, 3)) if halves else 1
        more = channels * rng.integers(2) if shortcut is Shortcut.REPEAT else rng.integers(3)
        channels += int(more)
        blocks.append([channels, stride, int(rng.choice([1, 3]))])
        shape = -(-shape // stride)
    case = random_model(
        seed,
        method=method.value,
        first=first,
        blocks=blocks,
        shortcut=shortcut.value,
        classic=classic,
        shape=(*map(int, sides), 3),
        # A stream of a few values would have few bits that differ.
        grid=Grid(int(rng.integers(9, 17)), int(rng.integers(4, 9)), int(rng.integers(0, 11))),
    )
    frames = torch.from_numpy(rng.integers(0, 256, (100, *case.frame.shape), np.uint8))
    prepared = case.model
    measure_statistics(prepared, frames, Recipe("random", epochs=1))
    case.plain.load_state_dict(prepared.state_dict())
    return case


chains = st.integers(0, 2**32 - 1).map(random_network)
residuals = st.integers(0, 2**32 - 1).map(random_residual)
dynamics = st.integers(0, 2**32 - 1).map(partial(random_residual, dynamic=True))
networks = chains | residuals | dynamics


def random_frames(rng: np.random.Generator, frame: FeatureMap, count: int) -> np.ndarray:
    """Frames over the whole range of an input, (count, height, width, channels)."""
    dtype = np.uint8 if frame.type.low == 0 and frame.type.high <= 255 else np.int64
    return rng.integers(
        frame.type.low, frame.type.high, (count, *frame.shape), endpoint=True
    ).astype(dtype)
