"""The accelerator: a design's steps, built and connected."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.hw.argmax import ArgMax, result_layout
from xnorflow.hw.arithmetic.memory import buffer_style, memory_style
from xnorflow.hw.design import Design
from xnorflow.hw.dynamic import DynamicThreshold, DynamicTwoSlope, FrameBuffer
from xnorflow.hw.integer_mvu import IntegerMatrixVectorUnit, weight_coding
from xnorflow.hw.join import Add, Concat
from xnorflow.hw.mvu import MatrixVectorUnit
from xnorflow.hw.peak import HalvingMaxPool
from xnorflow.hw.pool import MaxPool, SumPool
from xnorflow.hw.postprocess import PostProcess, TwoSlope, offset_rows, scale_rows, slope_rows
from xnorflow.hw.shortcut import PadChannels, Subsample
from xnorflow.hw.steps import (
    Accumulate,
    Append,
    Bend,
    Compare,
    Copy,
    Cut,
    Divide,
    DynamicBend,
    DynamicCompare,
    Gather,
    Hold,
    Merge,
    Multiply,
    Pad,
    Peak,
    Pool,
    Queue,
    Scale,
    Select,
    Skip,
    Slide,
)
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.fork import Fork
from xnorflow.hw.streams.guard import FrameGuard, FramePacer, VerdictGate, frame_layout
from xnorflow.hw.streams.skid_buffer import SkidBuffer
from xnorflow.hw.streams.width_converter import WidthConverter
from xnorflow.hw.streams.width_divider import WidthDivider
from xnorflow.hw.streams.words import map_layout, value_shape, vector_of, words_of
from xnorflow.hw.swu import SlidingWindowUnit, ring_size
from xnorflow.hw.threshold import Threshold, threshold_rows
from xnorflow.network import INPUT, BinaryConv


__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """Classify frames: raw pixels in, label and scores out.

    Frames may follow each other without a gap, one every ``design.cycles_per_frame`` cycles,
    exactly. A frame that is too short, too long or marked bad gives no result; it is counted, and
    does not touch the next one.

    Parameters
    ----------
    design : :class:`Design`

    Members
    -------
    i : ``In(stream.Signature(frame_layout(pixel, design.input_lanes)))``
        Pixels, rows from the top, channels fastest; the last word of a frame, or of a packet of
        frames, carries ``last``.
    o : ``Out(stream.Signature(result_layout(classes, score_bits)))``
        A transfer for every good frame.
    frame_error : ``Out(1)``
        High for a cycle when a frame has been dropped.
    dropped_frames : ``Out(32)``
        Number of frames dropped since reset.
    """

    def __init__(self, design: Design):
        self.design = design
        pixel = value_shape(design.network.input.type)
        super().__init__({
            "i": In(stream.Signature(frame_layout(pixel, design.input_lanes))),
            "o": Out(stream.Signature(result_layout(design.classes, design.score_bits))),
            "frame_error": Out(1),
            "dropped_frames": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        design = self.design

        pixel = value_shape(design.network.input.type)
        m.submodules.guard = guard = FrameGuard(
            pixel,
            lanes=design.input_lanes,
            words=design.words_per_frame,
            frames_per_packet=design.frames_per_packet,
        )
        m.submodules.verdicts = verdicts = Fifo(1, design.frames_in_flight)
        m.submodules.gate = gate = VerdictGate(result_layout(design.classes, design.score_bits))
        connect(m, flipped(self.i), guard.i)
        connect(m, guard.o_verdict, verdicts.i)
        connect(m, verdicts.o, gate.i_verdict)
        connect(m, gate.o, flipped(self.o))
        m.d.comb += [
            self.frame_error.eq(guard.frame_error),
            self.dropped_frames.eq(guard.dropped_frames),
        ]

        entry = guard.o
        if design.single_buffered:
            m.submodules.pacer = pacer = FramePacer(
                guard.o.p.shape(), words=design.words_per_frame, cycles=design.cycles_per_frame
            )
            connect(m, entry, pacer.i)
            entry = pacer.o
        # What has several outputs hands them out one by one.
        outputs = {INPUT: iter([entry])}
        for step in design.steps:
            m.submodules[step.name] = unit = _build(step, design)
            match step:
                case Merge() | Append():
                    inputs = [unit.i, unit.i_other]
                case Hold() | DynamicCompare() | DynamicBend():
                    inputs = [unit.i, unit.i_parameters]
                case _:
                    inputs = [unit.i]
            for source, i in zip(design.sources[step.name], inputs, strict=True):
                connect(m, next(outputs[source]), i)
            outputs[step.name] = iter(unit.o if isinstance(step, Copy) else [unit.o])
        connect(m, unit.o, gate.i)

        return m


def _build(step, design):
    """Component that does what a step says."""
    device = design.device
    match step:
        case Gather(source=source, lanes=lanes, ratio=ratio, words=words):
            return WidthConverter(value_shape(source.type), lanes=lanes, ratio=ratio, words=words)
        case Divide(source=source, lanes=lanes, ratio=ratio, words=words):
            return WidthDivider(source, lanes=lanes, ratio=ratio, words=words)
        case Copy(source=source, lanes=lanes, consumers=consumers):
            return Fork(map_layout(source, lanes), consumers)
        case Cut(source=source, lanes=lanes):
            return SkidBuffer(map_layout(source, lanes))
        case Queue(name, source, lanes):
            return Fifo(map_layout(source, lanes), design.depths[name])
        case Hold(name, source, lanes, parameters, parameter_lanes):
            return FrameBuffer(
                map_layout(source, lanes),
                design.depths[name],
                words=words_of(source, lanes),
                parameter_shape=map_layout(parameters, parameter_lanes),
                parameter_words=words_of(parameters, parameter_lanes),
            )
        case DynamicCompare(node, source, parameters, lanes):
            return DynamicThreshold(node, source, parameters, lanes=lanes)
        case DynamicBend(node, source, parameters, lanes):
            style = _style(device, *slope_rows(node, lanes=lanes, vector=source.channels))
            return DynamicTwoSlope(node, source, parameters, lanes=lanes, style=style)
        case Slide(source=source, lanes=lanes, windows=windows):
            depth = design.depths[step.name]
            style = buffer_style(device, lanes * value_shape(source.type).width, ring_size(depth))
            return SlidingWindowUnit(windows, depth=depth, style=style)
        case Multiply(BinaryConv() as node, _, folding):
            return MatrixVectorUnit(
                step.matrix,
                pe=folding.pe,
                simd=folding.simd,
                gate=node.gate,
                popcount=node.popcount,
                family=device.family,
                weight_style=memory_style(device, folding.pe * folding.simd, step.rows),
            )
        case Multiply(node, source, folding):
            bits, _, _ = weight_coding(step.matrix)
            return IntegerMatrixVectorUnit(
                step.matrix,
                value_shape(source.type),
                value_shape(node.infer(source).type),
                pe=folding.pe,
                simd=folding.simd,
                weight_style=memory_style(device, folding.pe * folding.simd * bits, step.rows),
            )
        case Pool(node, source, lanes):
            return MaxPool(node, source, lanes=lanes)
        case Compare(node, source, lanes):
            vector = vector_of(source, lanes)
            style = _style(device, *threshold_rows(node, lanes=lanes, vector=vector))
            return Threshold(node, source, lanes=lanes, vector=vector, style=style)
        case Scale(node, source, lanes):
            vector = vector_of(source, lanes)
            return PostProcess(
                node,
                source,
                lanes=lanes,
                vector=vector,
                scale_style=_style(device, *scale_rows(node, lanes=lanes, vector=vector)),
                offset_style=_style(device, *offset_rows(node, lanes=lanes, vector=vector)),
            )
        case Bend(node, source, lanes):
            vector = vector_of(source, lanes)
            style = _style(device, *slope_rows(node, lanes=lanes, vector=vector))
            return TwoSlope(node, source, lanes=lanes, vector=vector, style=style)
        case Skip(node, source, lanes):
            return Subsample(node, source, lanes=lanes)
        case Pad(node, source, lanes):
            return PadChannels(node, source, lanes=lanes)
        case Peak(node, source, lanes):
            return HalvingMaxPool(node, source, lanes=lanes)
        case Accumulate(node, source, lanes):
            return SumPool(node, source, lanes=lanes)
        case Merge(node, source, other, lanes):
            return Add(node, source, other, lanes=lanes)
        case Append(node, source, other, lanes):
            return Concat(node, source, other, lanes=lanes)
        case Select(source=source, lanes=lanes):
            return ArgMax(source, lanes=lanes)


def _style(device, layout, rows):
    """Where a table of constants belongs."""
    return memory_style(device, layout.size, len(rows))
