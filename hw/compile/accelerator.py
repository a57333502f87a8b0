"""The accelerator: a design's stages, built and connected."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.hw.arithmetic.loaded_memory import FOLD_BITS, load_signature
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.watch import fills_of, waits_of, watch_ports
from xnorflow.hw.compile.weights import load_image, loaded_tables
from xnorflow.hw.ops.argmax import result_layout
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.guard import FrameGuard, FramePacer, VerdictGate, frame_layout
from xnorflow.hw.streams.loading import CRC_BYTES, DIGEST_BYTES, Loader, load_layout
from xnorflow.hw.streams.skid_buffer import SkidBuffer
from xnorflow.hw.streams.words import value_shape
from xnorflow.ir import INPUT


__all__ = ["Accelerator"]

_LOAD_PORTS = {
    "i_load": In(stream.Signature(load_layout)),
    "load_ended": Out(1),
    "load_busy": Out(1),
    "load_failed": Out(1),
    "weights_valid": Out(1),
    "weights_crc": Out(32),
}


class Accelerator(wiring.Component):
    """Execute a network: raw pixels in, scores out, and the label if the network delivers one.

    Frames may follow each other without a gap, one every ``design.cycles_per_frame`` cycles,
    exactly. A frame that is too short, too long or marked bad gives no result; it is counted, and
    does not touch the next one.

    Parameters
    ----------
    design : :class:`Design`
    watched : :class:`bool`
        Whether a simulation sees where words wait.

    Members
    -------
    i : ``In(stream.Signature(frame_layout(pixel, design.input_lanes)))``
        Pixels, rows from the top, channels fastest; the last word of a frame, or of a packet of
        frames, carries ``last``.
    o : ``Out(stream.Signature(result_layout(classes, score_bits, labelled=labelled)))``
        A transfer for every good frame.
    frame_error : ``Out(1)``
        High for a cycle when a frame has been dropped.
    dropped_frames : ``Out(32)``
        Number of frames dropped since reset.
    i_load : ``In(stream.Signature(load_layout))``
        Other weights, as `xnorflow.hw.compile.weights.load_image` has them, if the device is to
        have weights of run time. While they come in, and after a load that failed, no frame begins;
        those that are under way end with the weights that they began with.
    load_ended, load_busy, load_failed, weights_valid, weights_crc
        If it has: as for a `Loader`.
    waits, fills :
        If it is watched: what `xnorflow.hw.compile.watch` makes of all stages.
    """

    def __init__(self, design: Design, *, watched: bool = False):
        self.design = design
        self.watched = watched
        pixel = value_shape(design.network.input.type)
        self._result = result_layout(design.classes, design.score_bits, labelled=design.labelled)
        self._tables = loaded_tables(design) if design.device.runtime_weights else []
        super().__init__({
            **(_LOAD_PORTS if self._tables else {}),
            "i": In(stream.Signature(frame_layout(pixel, design.input_lanes))),
            "o": Out(stream.Signature(self._result)),
            "frame_error": Out(1),
            "dropped_frames": Out(32),
            **(watch_ports(design) if watched else {}),
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
            in_flight=design.frames_in_flight + 1 if self._tables else None,
        )
        m.submodules.verdicts = verdicts = Fifo(1, design.frames_in_flight)
        m.submodules.gate = gate = VerdictGate(self._result)
        connect(m, flipped(self.i), guard.i)
        m.submodules.verdict_cut = cut = SkidBuffer(1)
        connect(m, guard.o_verdict, cut.i)
        connect(m, cut.o, verdicts.i)
        connect(m, verdicts.o, gate.i_verdict)
        connect(m, gate.o, flipped(self.o))
        m.d.comb += [
            self.frame_error.eq(guard.frame_error),
            self.dropped_frames.eq(guard.dropped_frames),
        ]

        if self._tables:
            loads = self._loads(m, guard, gate)
        entry = guard.o
        if design.single_buffered:
            m.submodules.pacer = pacer = FramePacer(
                guard.o.p.shape(), words=design.words_per_frame, cycles=design.cycles_per_frame
            )
            connect(m, entry, pacer.i)
            entry = pacer.o
        # What has several outputs hands them out one by one.
        outputs, units = {INPUT: iter([entry])}, {}
        for stage in design.stages:
            unit = stage.build(design.device_of(stage), design.depths.get(stage.name))
            m.submodules[stage.name] = units[stage.name] = unit
            for source, name in zip(design.sources[stage.name], stage.inputs, strict=True):
                connect(m, next(outputs[source]), getattr(unit, name))
            outputs[stage.name] = iter(stage.outputs(unit))
            if self._tables and stage.name in self._tables:
                connect(m, loads[stage.name], unit.load)
        connect(m, unit.o, gate.i)
        if self.watched:
            m.d.comb += self.waits.eq(waits_of(design, units))
            m.d.comb += self.fills.eq(fills_of(m, design, units))

        return m

    def _loads(self, m, guard, gate):
        """What loads weights; gives the bus of each stage that has some, by its name."""
        tables, image = self._tables, load_image(self.design)
        m.submodules.loader = loader = Loader(
            image[:DIGEST_BYTES],
            tables.values(),
            crc=int.from_bytes(image[-CRC_BYTES:], "little"),
        )
        connect(m, flipped(self.i_load), loader.i)
        m.d.comb += [
            guard.hold.eq(loader.hold),
            guard.result.eq(gate.i_verdict.valid & gate.i_verdict.ready),
            loader.idle.eq(guard.idle),
            self.load_ended.eq(loader.ended),
            self.load_busy.eq(loader.busy),
            self.load_failed.eq(loader.failed),
            self.weights_valid.eq(loader.valid),
            self.weights_crc.eq(loader.crc),
        ]
        loads, enters = {}, Const(0)
        for n, (name, table) in enumerate(tables.items()):
            loads[name] = load = load_signature(table.loading).create(path=(f"load_{name}",))
            m.d.comb += [
                load.data.eq(loader.data),
                load.start.eq(loader.start if n == 0 else 0),
                load.move.eq(loader.move),
                load.active.eq(loader.active),
                load.check.eq(loader.check),
                load.clear.eq(loader.clear),
                load.enters.eq(enters),
                loader.folds.word_select(n, FOLD_BITS).eq(load.fold),
            ]
            enters = load.leaves
        m.d.comb += loader.leaves.eq(enters)
        return loads
