"""The Verilog top: an accelerator behind AXI4-Stream ports."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorflow.frames import value_bytes
from xnorflow.hw.compile.accelerator import Accelerator
from xnorflow.hw.compile.design import Design


__all__ = ["AxiStreamTop", "result_element_bits"]


def result_element_bits(design: Design) -> int:
    """Width of the label and of each score in ``m_axis_tdata``: 8, 16 or 32."""
    needed = max(design.score_bits, (design.classes - 1).bit_length())
    return next(bits for bits in (8, 16, 32) if bits >= needed)


class AxiStreamTop(wiring.Component):
    """AXI4-Stream ports around an :class:`Accelerator`, with ``clk`` and a synchronous ``rst``.

    Parameters
    ----------
    design : :class:`Design`

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast, s_axis_tuser :
        Frames of raw values, each in whole bytes, the first one lowest: signed integers in two's
        complement, sign-extended to whole bytes, bits as 0 or 1. Bits above a value's width are not
        looked at. ``tlast`` ends a frame, or with `FramesPerPacket.ANY` a packet of whole frames;
        ``tuser`` beside a frame's last word marks the frame as bad.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast :
        One transfer a frame: the label, if there is one, then the scores in two's complement, each
        in ``result_element_bits(design)`` bits, the label lowest.
    frame_error : ``Out(1)``
        High for a cycle when a frame has been dropped.
    dropped_frames : ``Out(32)``
        Number of frames dropped since reset.
    """

    def __init__(self, design: Design):
        self.design = design
        self._element = result_element_bits(design)
        self._pixel = 8 * value_bytes(design.network.input.type)
        super().__init__({
            "s_axis_tdata": In(self._pixel * design.input_lanes),
            "s_axis_tvalid": In(1),
            "s_axis_tready": Out(1),
            "s_axis_tlast": In(1),
            "s_axis_tuser": In(1),
            "m_axis_tdata": Out(self._element * (design.labelled + design.classes)),
            "m_axis_tvalid": Out(1),
            "m_axis_tready": In(1),
            "m_axis_tlast": Out(1),
            "frame_error": Out(1),
            "dropped_frames": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = accelerator = Accelerator(self.design)

        i, o = accelerator.i, accelerator.o
        m.d.comb += [
            i.valid.eq(self.s_axis_tvalid),
            i.p.last.eq(self.s_axis_tlast),
            i.p.error.eq(self.s_axis_tuser),
            self.s_axis_tready.eq(i.ready),
            self.m_axis_tvalid.eq(o.valid),
            self.m_axis_tlast.eq(o.valid),
            o.ready.eq(self.m_axis_tready),
            self.frame_error.eq(accelerator.frame_error),
            self.dropped_frames.eq(accelerator.dropped_frames),
        ]
        for n in range(self.design.input_lanes):
            m.d.comb += i.p.data[n].eq(self.s_axis_tdata.word_select(n, self._pixel))
        label = [o.p.label] if self.design.labelled else []
        elements = [*label, *(o.p.scores[n] for n in range(self.design.classes))]
        for n, element in enumerate(elements):
            m.d.comb += self.m_axis_tdata.word_select(n, self._element).eq(element)

        return m
