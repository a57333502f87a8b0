"""Write a design to files: Verilog, memory contents, and a description for whoever talks to it."""

import json
from pathlib import Path

from amaranth.back import verilog

from xnorflow import __version__
from xnorflow.files import make_folder, write_atomically
from xnorflow.hw.axi import AxiStreamTop, result_element_bits
from xnorflow.hw.design import Design
from xnorflow.hw.integer_mvu import weight_coding
from xnorflow.hw.mvu import mvu_rows
from xnorflow.hw.operands import weight_rows
from xnorflow.hw.postprocess import offset_rows, scale_rows, slope_rows
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
    vector_of,
)
from xnorflow.hw.threshold import threshold_rows
from xnorflow.network import BinaryConv


__all__ = ["describe", "generate", "verilog_text"]

TOP = "accelerator"
"""Name of the Verilog module, and of its file."""

# Yosys writes operands of different widths, cases without a default, signals that nobody reads,
# and all modules into one file. What shows real faults (latches, loops, several drivers, missing
# pins) stays on.
_LINT = "ASCRANGE CASEINCOMPLETE DECLFILENAME PROCASSINIT UNUSEDSIGNAL WIDTHEXPAND WIDTHTRUNC"


def generate(design: Design, directory: Path | str) -> Path:
    """Write ``accelerator.v``, ``design.json`` and ``rom/*.hex`` into ``directory``.

    The same network and folding give the same bytes. Memory contents are part of the Verilog; the
    ``rom`` folder has them once more, as ``$readmemh`` reads them, for people and other tools.

    Returns
    -------
    Path
        The Verilog file.

    Raises
    ------
    FormatError
        If a file cannot be written.
    """
    directory = make_folder(directory)
    # Without its description, what an interrupted run leaves behind is not taken for a design.
    (directory / "design.json").unlink(missing_ok=True)
    path = directory / f"{TOP}.v"
    write_atomically(path, verilog_text(design).encode())
    roms = make_folder(directory / "rom")
    for stale in roms.glob("*.hex"):
        stale.unlink()
    for name, contents in _roms(design):
        write_atomically(roms / f"{name}.hex", contents.encode())
    description = json.dumps(describe(design), indent=2, ensure_ascii=False)
    write_atomically(directory / "design.json", f"{description}\n".encode())
    return path


def verilog_text(design: Design) -> str:
    """Verilog of the design's :class:`AxiStreamTop`.

    ``verilator -Wall`` has nothing to say about it; the rules that concern only how Yosys writes
    are switched off by pragmas in the file.
    """
    text = verilog.convert(
        AxiStreamTop(design), name=TOP, emit_src=False, strip_internal_attrs=True
    )
    pragmas = "\n".join(f"/* verilator lint_off {rule} */" for rule in _LINT.split())
    header = f"// xnorflow {__version__}: network {design.network.name}"
    return f"{header}\n{pragmas}\n{text}"


def describe(design: Design) -> dict:
    """Everything that a host or a bench needs to know about a design, as plain JSON values."""
    network = design.network
    return {
        "network": network.name,
        "labels": list(network.labels),
        "frame_shape": list(network.input.shape),
        "pixel_bits": network.input.type.bits,
        "input_lanes": design.input_lanes,
        "words_per_frame": design.words_per_frame,
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


def _roms(design):
    """Names and ``$readmemh`` texts of the memories, a row a line."""
    for step in design.steps:
        for name, width, rows in _memories(step, design.device):
            digits = -(-width // 4)
            yield name, "".join(f"{row:0{digits}x}\n" for row in rows)


def _memories(step, device):
    """Names, widths and rows of what a step reads."""
    match step:
        case Multiply(BinaryConv() as node, _, folding):
            pe, simd = folding.pe, folding.simd
            rows = mvu_rows(step.matrix, pe=pe, simd=simd, gate=node.gate, family=device.family)
            yield step.name, folding.pe * folding.simd, rows
        case Multiply(_, _, folding):
            bits, stored, spare = weight_coding(step.matrix)
            rows = weight_rows(stored, pe=folding.pe, simd=folding.simd, bits=bits, spare=spare)
            yield step.name, folding.pe * folding.simd * bits, rows
        case Compare(node, source, lanes):
            layout, rows = threshold_rows(node, lanes=lanes, vector=vector_of(source, lanes))
            yield step.name, layout.size, rows
        case Scale(node, source, lanes):
            layout, rows = scale_rows(node, lanes=lanes, vector=vector_of(source, lanes))
            yield f"{step.name}_scales", layout.size, rows
            layout, rows = offset_rows(node, lanes=lanes, vector=vector_of(source, lanes))
            yield f"{step.name}_offsets", layout.size, rows
        case Bend(node, source, lanes) | DynamicBend(node, source, _, lanes):
            layout, rows = slope_rows(node, lanes=lanes, vector=vector_of(source, lanes))
            yield step.name, layout.size, rows
