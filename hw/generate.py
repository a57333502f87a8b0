"""Write a design to files: Verilog, memory contents, and a description for whoever talks to it."""

import json
from pathlib import Path

from xnorflow import __version__
from xnorflow.files import locked, remove_file, write_atomically
from xnorflow.hw.axi import AxiStreamTop, result_element_bits
from xnorflow.hw.design import Design
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
from xnorflow.hw.verilog import component_verilog
from xnorflow.network import BinaryConv
from xnorflow.xnf import encode_type


__all__ = ["describe", "generate", "verilog_text"]

TOP = "accelerator"
"""Name of the Verilog module, and of its file."""

_LINT = {
    "PROCASSINIT": "registers have their reset values from power-on",
    "UNUSEDSIGNAL": "carries of sums, and lanes of a word, that nobody needs",
    "WIDTHEXPAND": "narrow operands are extended as the language says",
    "CASEOVERLAP": "of these conditions only one holds at a time",
    "DECLFILENAME": "all modules are in one file",
}
"""Rules of ``verilator -Wall`` that the text does not keep, and why it need not."""


def generate(design: Design, directory: Path | str) -> Path:
    """Write ``accelerator.v`` and ``design.json`` into ``directory``.

    The same network and folding give the same bytes. Memory contents are part of the Verilog.

    Returns
    -------
    Path
        The Verilog file.

    Raises
    ------
    FormatError
        If a file cannot be written, or another run writes to the folder.
    """
    with locked(directory) as folder:
        return _write(design, folder)


def _write(design: Design, directory: Path) -> Path:
    """Write the files of a design into a folder."""
    # Without its description, what an interrupted run leaves behind is not taken for a design.
    remove_file(directory / "design.json")
    path = directory / f"{TOP}.v"
    write_atomically(path, verilog_text(design).encode())
    description = json.dumps(describe(design), indent=2, ensure_ascii=False)
    write_atomically(directory / "design.json", f"{description}\n".encode())
    return path


def verilog_text(design: Design) -> str:
    """Verilog of the design's :class:`AxiStreamTop`.

    It is Verilog of 2001, and right under every later level of the language; see
    `xnorflow.hw.verilog`. ``verilator -Wall`` has nothing to say about it but what pragmas in the
    file switch off, each with its reason.
    """
    text = component_verilog(AxiStreamTop(design), TOP)
    pragmas = "\n".join(
        f"/* verilator lint_off {rule} */  // {reason}" for rule, reason in _LINT.items()
    )
    header = f"// xnorflow {__version__}: network {design.network.name}"
    return f"{header}\n{pragmas}\n{text}"


def describe(design: Design) -> dict:
    """Everything that a host or a bench needs to know about a design, as plain JSON values."""
    network = design.network
    return {
        "network": network.name,
        "labels": list(network.labels),
        "frame_shape": list(network.input.shape),
        "pixel_type": encode_type(network.input.type),
        "input_lanes": design.input_lanes,
        "words_per_frame": design.words_per_frame,
        "frames_per_packet": design.frames_per_packet.value,
        "classes": design.classes,
        "score_bits": design.score_bits,
        "result_element_bits": result_element_bits(design),
        "device": design.device.name,
        "cycles_per_frame": design.cycles_per_frame,
        "latency": design.latency,
        "single_buffered": design.single_buffered,
        "steps": [
            {
                "name": step.name,
                "sources": list(design.sources[step.name]),
                **_describe_step(step, design),
            }
            for step in design.steps
        ],
    }


def _describe_step(step, design):
    match step:
        case Gather(lanes=lanes, ratio=ratio):
            return {"unit": "WidthConverter", "lanes": lanes, "ratio": ratio}
        case Divide(lanes=lanes, ratio=ratio):
            return {"unit": "WidthDivider", "lanes": lanes, "ratio": ratio}
        case Copy(lanes=lanes, consumers=consumers):
            return {"unit": "Fork", "lanes": lanes, "consumers": consumers}
        case Cut(lanes=lanes):
            return {"unit": "SkidBuffer", "lanes": lanes}
        case Queue(name, _, lanes):
            return {"unit": "Fifo", "lanes": lanes, "depth": design.depths[name]}
        case Hold(name, _, lanes):
            return {"unit": "FrameBuffer", "lanes": lanes, "depth": design.depths[name]}
        case Slide(node, _, lanes):
            return {
                "unit": "SlidingWindowUnit",
                "lanes": lanes,
                "kernel": list(node.weights.shape[1:3]),
                "stride": node.stride,
                "padding": node.padding,
                "depth": design.depths[step.name],
            }
        case Multiply(node, _, folding):
            description = {
                "unit": "IntegerMatrixVectorUnit",
                "neurons": node.filters,
                "synapses": node.taps,
                "pe": folding.pe,
                "simd": folding.simd,
                "cycles": step.cycles,
            }
            if isinstance(node, BinaryConv):
                description |= {"unit": "MatrixVectorUnit", "gate": node.gate.value}
                description |= {"popcount": node.popcount}
            return description
        case Pool(node, _, lanes):
            return {"unit": "MaxPool", "lanes": lanes, "size": node.size}
        case Compare(lanes=lanes):
            return {"unit": "Threshold", "lanes": lanes}
        case Scale(lanes=lanes):
            return {"unit": "PostProcess", "lanes": lanes}
        case Bend(lanes=lanes):
            return {"unit": "TwoSlope", "lanes": lanes}
        case Skip(node, _, lanes):
            return {"unit": "Subsample", "lanes": lanes, "stride": node.stride}
        case Pad(node, _, lanes):
            return {
                "unit": "PadChannels",
                "lanes": lanes,
                "before": node.before,
                "after": node.after,
            }
        case Peak(lanes=lanes):
            return {"unit": "HalvingMaxPool", "lanes": lanes}
        case Accumulate(lanes=lanes):
            return {"unit": "SumPool", "lanes": lanes}
        case Merge(lanes=lanes):
            return {"unit": "Add", "lanes": lanes}
        case Append(lanes=lanes):
            return {"unit": "Concat", "lanes": lanes}
        case DynamicCompare(lanes=lanes):
            return {"unit": "DynamicThreshold", "lanes": lanes}
        case DynamicBend(lanes=lanes):
            return {"unit": "DynamicTwoSlope", "lanes": lanes}
        case Select(lanes=lanes):
            return {"unit": "ArgMax", "lanes": lanes}
