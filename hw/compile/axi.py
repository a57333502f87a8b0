"""The Verilog top: an accelerator behind AXI4-Stream ports."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorflow.frames import value_bytes
from xnorflow.hw.compile.accelerator import Accelerator
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.ports import PLAIN_PORTS, AxiPorts, ResetPort
from xnorflow.hw.compile.schedule import departures
from xnorflow.hw.compile.watch import watch_ports
from xnorflow.hw.streams.axi_width import InputGearbox, ResultSerialiser, word_times


__all__ = [
    "AxiStreamTop",
    "ResultTiming",
    "result_element_bits",
    "result_timing",
]


_LOAD_PORTS = {
    "s_load_tdata": In(8),
    "s_load_tvalid": In(1),
    "s_load_tready": Out(1),
    "s_load_tlast": In(1),
    "load_failed": Out(1),
    "weights_valid": Out(1),
}


@dataclass(frozen=True)
class ResultTiming:
    """When results come, of frames that come without a gap, each in a packet of its own.

    Attributes
    ----------
    cycles_per_frame : int
        Clock cycles from one result to the next.
    latency : int
        Clock cycles from a frame's first transfer to that of its result, if the accelerator is
        idle; a lower bound unless ``design.latency_is_exact``.
    """

    cycles_per_frame: int
    latency: int


def result_element_bits(design: Design) -> int:
    """Width of the label and of each score in a result: 8, 16 or 32."""
    needed = max(design.score_bits, (design.classes - 1).bit_length())
    return next(bits for bits in (8, 16, 32) if bits >= needed)


def result_timing(design: Design, ports: AxiPorts) -> ResultTiming:
    """Rate and latency, with these ports."""
    if ports.width is None:
        return ResultTiming(design.cycles_per_frame, design.latency)
    times = word_times(**_bytes(design, ports))
    transfers = -(-_result_bytes(design) // (ports.width // 8))
    last = int(departures(design.stages, design.sources, times, design.device)[-1])
    return ResultTiming(
        max(design.cycles_per_frame, int(times[-1]), transfers), last + ResultSerialiser.latency
    )


def _bytes(design, ports):
    """Bytes of a transfer, of a word and of a frame."""
    pixel = value_bytes(design.network.input.type)
    return {
        "beat": ports.width // 8,
        "word": pixel * design.input_lanes,
        "frame": pixel * design.network.input.size,
    }


def _result_bytes(design):
    return (design.labelled + design.classes) * result_element_bits(design) // 8


class AxiStreamTop(wiring.Component):
    """AXI4-Stream ports around an :class:`Accelerator`, with a clock and a synchronous reset.

    Parameters
    ----------
    design : :class:`Design`
    ports : :class:`AxiPorts`
        Width of the streams, and name of the reset.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast, s_axis_tuser :
        Frames of raw values, each in whole bytes, the first one lowest: signed integers in two's
        complement, sign-extended to whole bytes, bits as 0 or 1. Bits above a value's width are not
        looked at. ``tlast`` ends a frame, or with `FramesPerPacket.ANY` a packet of whole frames;
        ``tuser`` beside a frame's last byte marks the frame as bad.
    s_axis_tkeep :
        If there is a width: the bytes of a packet's last transfer that it has, all others being
        below them.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast :
        A packet for a frame: the label, if there is one, then the scores in two's complement, each
        in ``result_element_bits(design)`` bits, the label lowest. Without a width, it is one
        transfer.
    m_axis_tkeep :
        If there is a width: the bytes of the last transfer that belong to the result.
    frame_error : ``Out(1)``
        High for a cycle when a frame has been dropped.
    dropped_frames : ``Out(32)``
        Number of frames dropped since reset.
    s_load_tdata, s_load_tvalid, s_load_tready, s_load_tlast :
        Other weights, byte by byte, if the device is to have weights of run time: what
        `xnorflow.hw.compile.weights.load_image` gives. See `Accelerator`.
    load_failed : ``Out(1)``
        The same: whether the load that has ended last was not as it should be.
    weights_valid : ``Out(1)``
        The same: whether frames are taken. They wait during a load, and after one that failed.
    waits, fills :
        If the ports are watched, those of the accelerator.
    aclk, aresetn :
        With `ResetPort.ARESETN`: the clock, and the reset.
    """

    def __init__(self, design: Design, ports: AxiPorts = PLAIN_PORTS):
        self.design = design
        self.ports = ports
        self._element = result_element_bits(design)
        self._pixel = 8 * value_bytes(design.network.input.type)
        i_width, o_width = self._pixel * design.input_lanes, 8 * _result_bytes(design)
        keeps = {}
        if ports.width is not None:
            i_width = o_width = ports.width
            keeps = {"s_axis_tkeep": In(i_width // 8), "m_axis_tkeep": Out(o_width // 8)}
        named = {} if ports.reset is ResetPort.RST else {"aclk": In(1), "aresetn": In(1)}
        super().__init__({
            **named,
            "s_axis_tdata": In(i_width),
            "s_axis_tvalid": In(1),
            "s_axis_tready": Out(1),
            "s_axis_tlast": In(1),
            "s_axis_tuser": In(1),
            "m_axis_tdata": Out(o_width),
            "m_axis_tvalid": Out(1),
            "m_axis_tready": In(1),
            "m_axis_tlast": Out(1),
            **keeps,
            **(_LOAD_PORTS if design.device.runtime_weights else {}),
            "frame_error": Out(1),
            "dropped_frames": Out(32),
            **(watch_ports(design) if ports.watched else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = accelerator = Accelerator(self.design, watched=self.ports.watched)
        if self.ports.watched:
            m.d.comb += [self.waits.eq(accelerator.waits), self.fills.eq(accelerator.fills)]
        if self.ports.reset is ResetPort.ARESETN:
            m.domains.sync = domain = ClockDomain()
            domain.clk = self.aclk
            m.d.comb += domain.rst.eq(~self.aresetn)

        m.d.comb += [
            self.frame_error.eq(accelerator.frame_error),
            self.dropped_frames.eq(accelerator.dropped_frames),
        ]
        if self.design.device.runtime_weights:
            load = accelerator.i_load
            m.d.comb += [
                load.p.data.eq(self.s_load_tdata),
                load.p.last.eq(self.s_load_tlast),
                load.valid.eq(self.s_load_tvalid),
                self.s_load_tready.eq(load.ready),
                self.load_failed.eq(accelerator.load_failed),
                self.weights_valid.eq(accelerator.weights_valid),
            ]
        if self.ports.width is None:
            self._connect_words(m, accelerator)
        else:
            self._connect_bytes(m, accelerator)
        return m

    def _connect_words(self, m, accelerator):
        """A transfer is a word, and a whole result."""
        i, o = accelerator.i, accelerator.o
        m.d.comb += [
            i.valid.eq(self.s_axis_tvalid),
            i.p.last.eq(self.s_axis_tlast),
            i.p.error.eq(self.s_axis_tuser),
            self.s_axis_tready.eq(i.ready),
            self.m_axis_tvalid.eq(o.valid),
            self.m_axis_tlast.eq(o.valid),
            o.ready.eq(self.m_axis_tready),
        ]
        self._connect_values(m, accelerator, self.s_axis_tdata, self.m_axis_tdata)

    def _connect_bytes(self, m, accelerator):
        """Words and results go through converters."""
        m.submodules.gearbox = gearbox = InputGearbox(
            **_bytes(self.design, self.ports), frames_per_packet=self.design.frames_per_packet
        )
        m.submodules.serialiser = serialiser = ResultSerialiser(
            result=_result_bytes(self.design), beat=self.ports.width // 8
        )
        i, word, result, o = gearbox.i, gearbox.o, serialiser.i, serialiser.o
        m.d.comb += [
            i.valid.eq(self.s_axis_tvalid),
            i.p.data.eq(self.s_axis_tdata),
            i.p.keep.eq(self.s_axis_tkeep),
            i.p.last.eq(self.s_axis_tlast),
            i.p.user.eq(self.s_axis_tuser),
            self.s_axis_tready.eq(i.ready),
            accelerator.i.valid.eq(word.valid),
            accelerator.i.p.last.eq(word.p.last),
            accelerator.i.p.error.eq(word.p.error),
            word.ready.eq(accelerator.i.ready),
            result.valid.eq(accelerator.o.valid),
            accelerator.o.ready.eq(result.ready),
            self.m_axis_tdata.eq(o.p.data),
            self.m_axis_tkeep.eq(o.p.keep),
            self.m_axis_tlast.eq(o.p.last),
            self.m_axis_tvalid.eq(o.valid),
            o.ready.eq(self.m_axis_tready),
        ]
        self._connect_values(m, accelerator, word.p.data, result.payload)

    def _connect_values(self, m, accelerator, pixels, result):
        """Pixels, label and scores in whole bytes."""
        o = accelerator.o.p
        for n in range(self.design.input_lanes):
            m.d.comb += accelerator.i.p.data[n].eq(pixels.word_select(n, self._pixel))
        label = [o.label] if self.design.labelled else []
        elements = [*label, *(o.scores[n] for n in range(self.design.classes))]
        for n, element in enumerate(elements):
            m.d.comb += result.word_select(n, self._element).eq(element)
