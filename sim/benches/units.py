# amaranth: UnusedElaboratable=no
"""Bench of single units: stimuli and expectations are maps that the golden model computes.

The top module `Units` holds every unit once, so that one compilation serves all tests.
"""

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from amaranth import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from cocotb.triggers import FallingEdge, ReadOnly
from numpy.typing import NDArray

from xnorflow.hw.arithmetic.popcount import Popcount
from xnorflow.hw.families import FAMILIES
from xnorflow.hw.ops.affine import Affine
from xnorflow.hw.ops.argmax import ArgMax, Scores
from xnorflow.hw.ops.binary_conv import MatrixVectorUnit
from xnorflow.hw.ops.dynamic import DynamicThreshold, DynamicTwoSlope, FrameBuffer
from xnorflow.hw.ops.elementwise import Add, Concat
from xnorflow.hw.ops.integer_conv import IntegerMatrixVectorUnit
from xnorflow.hw.ops.pooling import HalvingMaxPool, MaxPool, SumPool
from xnorflow.hw.ops.shortcut import PadChannels, Subsample
from xnorflow.hw.ops.sliding_window import SlidingWindowUnit, Windows
from xnorflow.hw.ops.threshold import Threshold
from xnorflow.hw.ops.two_slope import TwoSlope
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.fork import Fork
from xnorflow.hw.streams.skid_buffer import SkidBuffer
from xnorflow.hw.streams.width_converters import WidthConverter, WidthDivider
from xnorflow.hw.streams.words import lane_layout, value_shape
from xnorflow.ir import INPUT, FeatureMap, Gate, Network, Rounding, UInt
from xnorflow.ir import Add as AddNode
from xnorflow.ir import Affine as AffineNode
from xnorflow.ir import ArgMax as ArgMaxNode
from xnorflow.ir import AveragePool as AveragePoolNode
from xnorflow.ir import BinaryConv as BinaryConvNode
from xnorflow.ir import Concat as ConcatNode
from xnorflow.ir import DynamicThreshold as DynamicThresholdNode
from xnorflow.ir import DynamicTwoSlope as DynamicTwoSlopeNode
from xnorflow.ir import GlobalSum as GlobalSumNode
from xnorflow.ir import HalvingMaxPool as HalvingMaxPoolNode
from xnorflow.ir import IntegerConv as IntegerConvNode
from xnorflow.ir import MaxPool as MaxPoolNode
from xnorflow.ir import PadChannels as PadChannelsNode
from xnorflow.ir import Subsample as SubsampleNode
from xnorflow.ir import Threshold as ThresholdNode
from xnorflow.ir import TwoSlope as TwoSlopeNode
from xnorflow.sim.streams import Transfer, amaranth_stream, receive, reset, send, start_clock
from xnorflow.sw.golden import golden


VECTORS = 6
"""Vectors that a unit gets in a test."""

Word = Mapping[str, Any]
"""Fields of a payload. Lists may be short: what they lack means nothing."""


@dataclass(frozen=True)
class Case:
    """A unit with an input stream ``i``, what it gets, and what it must deliver.

    Attributes
    ----------
    unit : Component
        The hardware.
    inputs, expected : list of Word
        Payloads of `VECTORS` vectors.
    cycles : int or None
        Clock cycles a vector at full rate, unless that is left open.
    latency : int or None
        Clock cycles from the transfer of input word ``completing`` to the first output word.
    outputs : tuple of str
        The output streams, all of which deliver the same.
    others : list of Word
        Payloads for the second input stream, if there is one.
    second : str
        Its name.
    """

    unit: Any
    inputs: Sequence[Word]
    expected: Sequence[Word]
    cycles: int | None
    latency: int | None
    completing: int = 0
    outputs: tuple[str, ...] = ("o",)
    others: Sequence[Word] = ()
    second: str = "i_other"


class Units(wiring.Component):
    """Every unit, under its name, with all its ports."""

    def __init__(self, units: Mapping[str, Any]) -> None:
        self._units = units
        super().__init__({name: Out(unit.signature) for name, unit in units.items()})

    def elaborate(self, _platform: object) -> Module:
        """Connect every unit to the ports of its name."""
        m = Module()
        for name, unit in self._units.items():
            m.submodules[name] = unit
            # Not `connect`: it cannot flip arrays of streams.
            ports = unit.signature.flatten(getattr(self, name))
            for (_, member, inner), (_, _, outer) in zip(
                unit.signature.flatten(unit), ports, strict=True
            ):
                m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        return m


# -- what is tested -------------------------------------------------------------------------------


def layer_cases(gate: Gate, popcount: bool) -> dict[str, Case]:
    """Units of a small network's layers, and the maps that they must deliver."""
    network = _network(gate, popcount)
    pixels, first, hidden, second, scores, _ = network.nodes
    frames = np.random.default_rng(1).integers(0, 256, (VECTORS, *network.input.shape), np.uint8)
    execution = golden(network, frames, keep=network.maps.keys())

    def words(name: str, lanes: int) -> list[Word]:
        shared = execution.popcounts.get(name)
        fields = {} if shared is None else {"popcount": shared.flatten().tolist()}
        return _words(execution.maps[name].flatten(1).numpy(), lanes, **fields)

    def matrix(node: Any, pe: int, simd: int) -> Case:
        unit = MatrixVectorUnit(
            node.weights.reshape(node.filters, node.taps),
            pe=pe, simd=simd, gate=gate, popcount=popcount,
        )  # fmt: skip
        return Case(
            unit, words(node.source, simd), words(node.name, pe),
            unit.neuron_fold * unit.synapse_fold, unit.latency, unit.synapse_fold - 1,
        )  # fmt: skip

    def elementwise(unit_class: Any, node: Any, lanes: int) -> Case:
        source = network.maps[node.source]
        unit = unit_class(node, source, lanes=lanes, vector=source.size)
        count = -(-source.size // lanes)
        return Case(
            unit, words(node.source, lanes), words(node.name, lanes), count, unit.latency
        )  # fmt: skip

    classes = network.maps["scores"].channels
    assert execution.labels is not None
    results = [
        {"label": int(label), "scores": scores}
        for label, scores in zip(execution.labels.tolist(), execution.scores.tolist(), strict=True)
    ]
    select = ArgMax(network.maps["scores"], lanes=3)
    gather = Scores(network.maps["scores"], lanes=3)
    fold = -(-classes // 3)
    found = {
        "threshold_pixels": elementwise(Threshold, pixels, 4),
        "mvu_folded": matrix(first, 3, 5),  # neither divides the matrix
        "mvu_serial": matrix(first, 1, 1),
        "threshold": elementwise(Threshold, hidden, 3),
        "mvu_parallel": matrix(second, 7, 12),  # a vector a cycle, with spare synapses
        "affine": elementwise(Affine, scores, 2),
        "argmax": Case(select, words("scores", 3), results, fold, select.latency, fold - 1),
        "scores": Case(
            gather,
            words("scores", 3),
            [{"scores": result["scores"]} for result in results],
            fold,
            gather.latency,
            fold - 1,
        ),
    }
    suffix = f"{gate.value}_popcount" if popcount else gate.value
    return {f"{name}_{suffix}": case for name, case in found.items()}


def convolution_cases() -> dict[str, Case]:
    """Units of a small convolutional network, and the maps that they must deliver."""
    rng = np.random.default_rng(4)
    kinds = np.array([[0, *[1] * 4, 2], *[[3, *[4] * 4, 5]] * 3, [6, *[7] * 4, 8]])
    stem = IntegerConvNode("stem", INPUT, rng.integers(-127, 128, (4, 3, 3, 2)), padding=1)
    bits = ThresholdNode("bits", "stem", rng.integers(-9000, 9000, (9, 4)), classes=kinds)
    pool = MaxPoolNode("pool", "bits", 2, np.array([False, True, False, True]))
    scores = IntegerConvNode("scores", "pool", rng.integers(-9, 10, (3, 2, 3, 4)))
    network = Network(
        "convolutions", FeatureMap(5, 6, 2, UInt(8)),
        (stem, bits, pool, scores, ArgMaxNode("label", "scores")), ("a", "b", "c"),
    )  # fmt: skip
    frames = rng.integers(0, 256, (VECTORS, *network.input.shape), np.uint8)
    maps = golden(network, frames, keep=network.maps.keys()).maps

    def words(name: str, lanes: int) -> list[Word]:
        return _words(maps[name].flatten(1).numpy(), lanes)

    padded = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    windows = _words(np.moveaxis(taps, 3, 5).reshape(VECTORS, -1), 1)
    geometry = Windows(network.input, kernel=(3, 3), stride=1, padding=1, lanes=1)
    slide = SlidingWindowUnit(geometry, depth=2 * geometry.frame_words)
    first = IntegerMatrixVectorUnit(
        stem.weights.reshape(4, -1), unsigned(8), value_shape(network.maps["stem"].type),
        pe=2, simd=1,
    )  # fmt: skip
    last = IntegerMatrixVectorUnit(
        scores.weights.reshape(3, -1), unsigned(1), value_shape(network.maps["scores"].type),
        pe=2, simd=5,
    )  # fmt: skip
    compare = Threshold(bits, network.maps["stem"], lanes=2, vector=4)
    largest = MaxPool(pool, network.maps["bits"], lanes=2)
    return {
        "windows": Case(
            slide, words(INPUT, 1), windows, len(windows) // VECTORS, slide.latency,
            geometry.needed(0, 0) - 1,
        ),
        "integer_mvu_pixels": Case(
            first, windows, words("stem", 2), 30 * 18 * 2, first.latency, 17
        ),
        "threshold_classes": Case(
            compare, words("stem", 2), words("bits", 2), 60, compare.latency
        ),
        # A window of two by two pixels is complete with the second one of the second row.
        "max_pool": Case(largest, words("bits", 2), words("pool", 2), 60, largest.latency, 14),
        "integer_mvu_bits": Case(
            last, words("pool", 5), words("scores", 2), 5 * 2, last.latency, 4
        ),
    }  # fmt: skip


def residual_cases() -> dict[str, Case]:
    """Units of residual streams, and the maps that they must deliver."""
    rng = np.random.default_rng(5)
    rows, columns = np.arange(9)[:, None] // 4, np.arange(10) // 9
    grid = Rounding(4, 10)
    stem = IntegerConvNode("stem", INPUT, rng.integers(-127, 128, (4, 1, 1, 2)))
    norm = AffineNode(
        "norm", "stem", rng.integers(-2, 3, 4), rng.integers(-9999, 9999, (6, 4)),
        classes=5 - (2 * rows + columns), rounding=grid,
    )  # fmt: skip
    act = TwoSlopeNode("act", "norm", rng.integers(-40, 40, 4), rng.integers(-40, 40, 4), grid)
    add = AddNode("add", "act", "norm", 10)
    both = ConcatNode("both", "add", "act")
    pad = PadChannelsNode("pad", "both", 2, 4)
    sub = SubsampleNode("sub", "pad", 2)
    peak = HalvingMaxPoolNode("peak", "pad")
    joined = AddNode("joined", "sub", "peak", 10)
    pool = AveragePoolNode("pool", "joined", 2)
    total = GlobalSumNode("total", "pool")
    network = Network(
        "residual", FeatureMap(9, 10, 2, UInt(8)),
        (
            stem, norm, act, add, both, pad, sub, peak, joined, pool, total,
            ArgMaxNode("label", "total"),
        ),
        tuple("abcdefghijklmn"),
    )  # fmt: skip
    frames = rng.integers(0, 256, (VECTORS, *network.input.shape), np.uint8)
    maps = golden(network, frames, keep=network.maps.keys()).maps

    def words(name: str, lanes: int) -> list[Word]:
        return _words(maps[name].flatten(1).numpy(), lanes)

    def case(unit: Any, node: Any, lanes: int, latency: int | None, completing: int = 0) -> Case:
        inputs, others = words(node.source, lanes), []
        expected = words(node.name, lanes)
        if hasattr(node, "other"):
            others = words(node.other, lanes)
        cycles = max(len(inputs), len(expected)) // VECTORS
        return Case(unit, inputs, expected, cycles, latency, completing, others=others)

    x = network.maps
    affine = Affine(norm, x["stem"], lanes=2, vector=4)
    slopes = TwoSlope(act, x["norm"], lanes=2, vector=4)
    divider = WidthDivider(x["stem"], lanes=2, ratio=2, words=2)
    mean, sums = (SumPool(node, x[node.source], lanes=2) for node in (pool, total))
    return {
        "affine_classes": case(affine, norm, 2, affine.latency),
        "two_slope": case(slopes, act, 2, slopes.latency),
        "add": case(Add(add, x["act"], x["norm"], lanes=2), add, 2, Add.latency),
        "concat": case(Concat(both, x["add"], x["act"], lanes=2), both, 2, Concat.latency),
        # Zeros come before the first word is taken.
        "pad_channels": case(PadChannels(pad, x["both"], lanes=2), pad, 2, None),
        "subsample": case(Subsample(sub, x["pad"], lanes=2), sub, 2, Subsample.latency),
        # The second pixel of the second row completes a window, the last one a frame.
        "halving_max_pool": case(
            HalvingMaxPool(peak, x["pad"], lanes=2), peak, 2, HalvingMaxPool.latency, (10 + 1) * 7
        ),
        "average_pool": case(mean, pool, 2, mean.latency, (5 + 1) * 7),
        "global_sum": case(sums, total, 2, sums.latency, 3 * 7),
        "width_divider": Case(
            divider, words("stem", 4), words("stem", 2), 180, divider.latency
        ),
    }  # fmt: skip


def dynamic_cases() -> dict[str, Case]:
    """Units whose constants the frame brings along, and the maps that they must deliver."""
    rng = np.random.default_rng(6)
    grid, wide = Rounding(4, 10), Rounding(0, 24)
    ones = np.ones(2, np.int64)
    stem = IntegerConvNode("stem", INPUT, rng.integers(-127, 128, (4, 1, 1, 2)))
    x = AffineNode("x", "stem", ones[[0] * 4], rng.integers(-99, 99, 4), rounding=grid)
    sums = GlobalSumNode("sums", "x")
    excite = IntegerConvNode("excite", "sums", rng.integers(-9, 10, (13, 1, 1, 4)))
    shifts = AffineNode("shifts", "excite", ones[[0] * 13], 0 * ones[[0] * 13], rounding=grid)
    bits = DynamicThresholdNode("bits", "x", "shifts")
    positive, negative = rng.integers(-40, 40, (2, 4))
    act = DynamicTwoSlopeNode("act", "x", "shifts", positive, negative, grid, first=4)
    dense = BinaryConvNode("dense", "bits", rng.random((2, 4, 5, 4)) < 0.5)
    total = GlobalSumNode("total", "act")
    point = IntegerConvNode("point", "total", rng.integers(-9, 10, (2, 1, 1, 4)))
    network = Network(
        "dynamic", FeatureMap(4, 5, 2, UInt(8)),
        (
            stem, x, sums, excite, shifts, bits, act, dense, total, point,
            AffineNode("left", "dense", ones, 0 * ones, rounding=wide),
            AffineNode("right", "point", ones, 0 * ones, rounding=wide),
            AddNode("scores", "left", "right", 25), ArgMaxNode("label", "scores"),
        ),
        ("a", "b"),
    )  # fmt: skip
    frames = rng.integers(0, 256, (VECTORS, *network.input.shape), np.uint8)
    maps = golden(network, frames, keep=network.maps.keys()).maps

    def words(name: str, lanes: int) -> list[Word]:
        return _words(maps[name].flatten(1).numpy(), lanes)

    def case(unit: Any, delivered: str, latency: int | None) -> Case:
        return Case(
            unit, words("x", 2), words(delivered, 2), 40, latency, others=words("shifts", 1),
            second="i_parameters",
        )  # fmt: skip

    source, parameters = network.maps["x"], network.maps["shifts"]
    compare = DynamicThreshold(bits, source, parameters, lanes=2)
    bend = DynamicTwoSlope(act, source, parameters, lanes=2)
    layouts = [lane_layout(value_shape(kind.type), n) for kind, n in ((source, 2), (parameters, 1))]
    buffer = FrameBuffer(
        layouts[0], 50, words=40, parameter_shape=layouts[1], parameter_words=13
    )  # fmt: skip
    return {
        "dynamic_threshold": case(compare, "bits", compare.latency),
        "dynamic_two_slope": case(bend, "act", bend.latency),
        "frame_buffer": case(buffer, "x", None),
    }


def stream_cases() -> dict[str, Case]:
    """Units that only move words."""
    values = np.random.default_rng(2).integers(0, 32, (VECTORS, 7))
    layout = lane_layout(5, 2)
    narrow, wide = _words(values, 2), _words(values, 6)
    converter = WidthConverter(5, lanes=2, ratio=3, words=4)
    return {
        "width_converter": Case(converter, narrow, wide, 4, converter.latency, 2),
        "fifo_shallow": Case(Fifo(layout, 1), narrow, narrow, None, None),
        "fifo_deep": Case(Fifo(layout, 5), narrow, narrow, 4, None),
        "skid_buffer": Case(SkidBuffer(layout), narrow, narrow, 4, SkidBuffer.latency),
        "fork": Case(Fork(layout, 3), narrow, narrow, 4, 1, 0, ("o__0", "o__1", "o__2")),
    }


def _network(gate: Gate, popcount: bool) -> Network:
    """Small network of two layers, with thresholds and scales of all kinds."""
    rng = np.random.default_rng(3)
    sums = 256 if popcount else 1  # thresholds are in units of 2^-8 where ρ is

    def weights(*shape: int) -> NDArray[np.bool_]:
        return rng.random(shape) < 0.5

    def shared(low: int, high: int, channels: int) -> NDArray[np.int64] | None:
        return rng.integers(low, high, channels) if popcount else None

    return Network(
        name="units",
        input=FeatureMap(3, 4, 1, UInt(8)),
        nodes=(
            ThresholdNode("pixels", INPUT, np.array([120])),
            BinaryConvNode("first", "pixels", weights(10, 3, 4, 1), gate, popcount),
            ThresholdNode(
                "hidden", "first", sums * rng.integers(3, 7, 10),
                shared(-90, 90, 10), 8 if popcount else 0, rng.random(10) < 0.5,
            ),
            BinaryConvNode("second", "hidden", weights(7, 1, 1, 10), gate, popcount),
            # Few different scores, so that they often tie.
            AffineNode(
                "scores", "second", rng.integers(-1, 2, 7), rng.integers(-3, 4, 7), shared(-1, 2, 7)
            ),
            ArgMaxNode("label", "scores"),
        ),
        labels=tuple("abcdefg"),
    )  # fmt: skip


def _words(values: NDArray[Any], lanes: int, **fields: Sequence[int]) -> list[Word]:
    """Words of vectors (vectors, length); each vector's ``fields`` go along with all its words."""
    return [
        {
            "lanes": vector[start : start + lanes].tolist(),
            **{name: column[n] for name, column in fields.items()},
        }
        for n, vector in enumerate(values)
        for start in range(0, len(vector), lanes)
    ]


CASES = {
    **{
        name: case
        for gate in Gate
        for popcount in (False, True)
        for name, case in layer_cases(gate, popcount).items()
    },
    **convolution_cases(),
    **residual_cases(),
    **dynamic_cases(),
    **stream_cases(),
}

POPCOUNTS = {
    f"popcount_{family.name.lower().replace('-', '_')}_{width}": Popcount(width, family)
    for family in FAMILIES
    for width in (1, 2, 13, 40)
}


def top() -> Units:
    """The module that the bench runs on."""
    return Units({name: case.unit for name, case in CASES.items()} | POPCOUNTS)


# -- the bench ------------------------------------------------------------------------------------


def _named(names: Iterable[str]) -> list[cocotb.Param]:
    """Parameters that reports call by their names."""
    return [cocotb.Param(name, name=name) for name in names]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=_named(CASES), stall=[0.0, 0.4])
async def delivers(dut: Any, name: str, stall: float) -> None:
    """Every word is right, and at full rate comes when it is promised."""
    await _start(dut, name)
    await _check(dut, name, stall)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=_named(CASES))
async def recovers_from_reset(dut: Any, name: str) -> None:
    """A reset in the middle of a vector leaves nothing behind."""
    await _start(dut, name)
    rng = random.Random(name)
    tasks = [cocotb.start_soon(coroutine) for coroutine in _traffic(dut, name, 0.3)]
    for _ in range(rng.randrange(3, 20)):
        await FallingEdge(dut.clk)
    for task in tasks:
        task.cancel()
    await _start(dut, name)
    await _check(dut, name, 0.0)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=_named(POPCOUNTS))
async def counts_ones(dut: Any, name: str) -> None:
    """A popcount delivers after its latency in enabled cycles, and holds in others."""
    unit = POPCOUNTS[name]
    rng = random.Random(name)
    start_clock(dut.clk)
    pipeline: deque[int | None] = deque([None] * (unit.latency + 1), unit.latency + 1)
    for _ in range(200):
        await FallingEdge(dut.clk)
        word = rng.choice([rng.getrandbits(unit.width), 0, (1 << unit.width) - 1])
        enabled = rng.random() < 0.7
        getattr(dut, f"{name}__i").value = word
        getattr(dut, f"{name}__en").value = enabled
        await ReadOnly()
        # The oldest entry is at the output; a unit without latency shows the word at once.
        expected = word.bit_count() if unit.latency == 0 else pipeline[1]
        if expected is not None:
            assert int(getattr(dut, f"{name}__o").value) == expected
        if enabled:
            pipeline.append(word.bit_count())


async def _start(dut: Any, name: str) -> None:
    start_clock(dut.clk)
    for stream, _ in _inputs(dut, name):
        stream.valid.value = 0
    for stream in _outputs(dut, name):
        stream.ready.value = 0
    await reset(dut.clk, dut.rst)


async def _check(dut: Any, name: str, stall: float) -> None:
    case = CASES[name]
    tasks = [cocotb.start_soon(coroutine) for coroutine in _traffic(dut, name, stall)]
    sending, *receiving = tasks[:1] + tasks[-len(case.outputs) :]
    received: list[list[Transfer]] = [await task for task in receiving]
    sent: list[Transfer] = await sending
    for transfers in received:
        for index, (transfer, expected) in enumerate(zip(transfers, case.expected, strict=True)):
            _compare(case, index, transfer.payload[0], expected)
        if stall == 0.0:
            _check_timing(case, sent, transfers)


def _check_timing(case: Case, sent: list[Transfer], received: list[Transfer]) -> None:
    if case.latency is not None:
        assert received[0].cycle - sent[case.completing].cycle == case.latency
    if case.cycles is not None:
        words = len(received) // VECTORS
        starts = [transfer.cycle for transfer in received[::words]]
        assert np.diff(starts).tolist() == [case.cycles] * (VECTORS - 1)


def _traffic(dut: Any, name: str, stall: float) -> Iterable[Any]:
    """Coroutines that send all words, and receive them from every output."""
    case = CASES[name]
    for n, (stream, words) in enumerate(_inputs(dut, name)):
        yield send(stream, [(word,) for word in words], stall=stall, seed=n)
    for n, stream in enumerate(_outputs(dut, name)):
        yield receive(stream, len(case.expected), stall=stall, seed=n)


def _inputs(dut: Any, name: str) -> Iterable[tuple[Any, list[int]]]:
    """Input streams, and the payloads of their words."""
    case = CASES[name]
    yield amaranth_stream(dut.clk, dut, f"{name}__i"), _pack(case.unit.i, case.inputs)
    if case.others:
        yield (
            amaranth_stream(dut.clk, dut, f"{name}__{case.second}"),
            _pack(getattr(case.unit, case.second), case.others),
        )


def _outputs(dut: Any, name: str) -> list[Any]:
    return [amaranth_stream(dut.clk, dut, f"{name}__{o}") for o in CASES[name].outputs]


def _pack(stream: Any, words: Iterable[Word]) -> list[int]:
    """Payloads of input words, whose spare lanes are 1."""
    layout = stream.payload.shape()
    lanes = layout["lanes"].shape.length
    return [
        int(layout.const({**word, "lanes": [*word["lanes"], *[1] * (lanes - len(word["lanes"]))]})
            .as_value().value)
        for word in words
    ]  # fmt: skip


def _compare(case: Case, index: int, payload: int, expected: Word) -> None:
    output = case.unit.o[0] if isinstance(case.unit.o, list) else case.unit.o
    actual = output.payload.shape().from_bits(payload)
    for field, value in expected.items():
        found = actual[field]
        if isinstance(value, list):
            found = list(found)[: len(value)]
        assert found == value, f"word {index}: {field} is {found}, expected {value}"
