"""Write a design to files: Verilog, memory contents, and a description for whoever talks to it."""

import json
import re
from dataclasses import asdict
from pathlib import Path

from xnorflow import __version__
from xnorflow.files import locked, remove_file, write_atomically
from xnorflow.hw.compile.axi import AxiStreamTop, result_element_bits, result_timing
from xnorflow.hw.compile.comments import commented, split_modules
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.ip_core import component_xml, vivado_script
from xnorflow.hw.compile.ports import PLAIN_PORTS, AxiPorts
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.ir.xnf import encode_type


__all__ = ["describe", "generate", "verilog_text"]

TOP = "accelerator"
"""Name of the Verilog module, and of its file."""

_LINT = {
    "PROCASSINIT": "registers have their reset values from power-on",
    "UNUSEDSIGNAL": "carries of sums, and lanes of a word, that nobody needs",
    "WIDTHEXPAND": "narrow operands are extended as the language says",
    "CASEOVERLAP": "of these conditions only one holds at a time",
    "DECLFILENAME": "modules have names that no file need have",
}
"""Rules of ``verilator -Wall`` that the text does not keep, and why it need not."""


def generate(
    design: Design,
    directory: Path | str,
    *,
    behavioural: bool = False,
    ports: AxiPorts = PLAIN_PORTS,
    split: bool = False,
) -> Path:
    """Write ``accelerator.v`` and ``design.json`` into ``directory``.

    The same network and folding give the same bytes. Memory contents are part of the Verilog.
    Beside it are ``component.xml`` and ``vivado.tcl``, unless it is for simulation only: see
    `xnorflow.hw.compile.ip_core`.

    Parameters
    ----------
    design : Design
        What to write.
    directory : Path
        Where to.
    behavioural : bool
        Whether counters of bits are in behavioural form: for fast simulation, not for synthesis.
    ports : AxiPorts
        Width of the streams, and name of the reset.
    split : bool
        Whether every module has a file of its own, named by it, and ``accelerator.f`` lists them.

    Returns
    -------
    Path
        The Verilog file, or that of the top module.

    Raises
    ------
    FormatError
        If a file cannot be written, or another run writes to the folder.

    Examples
    --------
    >>> network = xnorflow.load("zoo/mnist-tfc-sign.xnf")
    >>> device = xnorflow.find_device("iCE40UP5K")
    >>> design = xnorflow.fold(network, device, cycles=784)
    >>> xnorflow.generate(design, "rtl").name
    'accelerator.v'
    """
    with locked(directory) as folder:
        # Without its description, what an interrupted run leaves behind is not taken for a design.
        remove_file(folder / "design.json")
        top = AxiStreamTop(design, ports)
        files = _verilog_files(_text(top, behavioural), split)
        _write_verilog(folder, files, split)
        if not (behavioural or ports.watched):
            write_atomically(folder / "component.xml", component_xml(top, TOP, [*files]).encode())
            write_atomically(folder / "vivado.tcl", vivado_script(top, TOP, [*files]).encode())
        description = json.dumps(describe(design, ports), indent=2, ensure_ascii=False)
        write_atomically(folder / "design.json", f"{description}\n".encode())
        return folder / f"{TOP}.v"


def _verilog_files(text: str, split: bool) -> dict[str, str]:
    """Verilog by the name of its file, the top module first."""
    if not split:
        return {f"{TOP}.v": text}
    head, modules = split_modules(text)
    return {
        f"{re.sub('[^A-Za-z0-9_.]', '_', name)}.v": f"{head}{module.rstrip()}\n"
        for name, module in modules.items()
    }


def _write_verilog(folder: Path, files: dict[str, str], split: bool) -> None:
    """Write files and their list, in place of those that an earlier list has."""
    listed = folder / f"{TOP}.f"
    if listed.exists():
        for name in listed.read_text(encoding="utf-8").split():
            remove_file(folder / Path(name).name)
        remove_file(listed)
    if split:
        write_atomically(listed, "".join(f"{name}\n" for name in files).encode())
    for name, text in files.items():
        write_atomically(folder / name, text.encode())


def verilog_text(
    design: Design, *, behavioural: bool = False, ports: AxiPorts = PLAIN_PORTS
) -> str:
    """Verilog of the design's :class:`AxiStreamTop`.

    It is Verilog of 2001, and right under every later level of the language; see
    `xnorflow.hw.compile.verilog`. ``verilator -Wall`` has nothing to say about it but what pragmas
    in the file switch off, each with its reason. In ``behavioural`` form it is SystemVerilog.
    """
    return _text(AxiStreamTop(design, ports), behavioural)


def _text(top: AxiStreamTop, behavioural: bool) -> str:
    text = commented(component_verilog(top, TOP, behavioural=behavioural), top, TOP)
    pragmas = "\n".join(
        f"/* verilator lint_off {rule} */  // {reason}" for rule, reason in _LINT.items()
    )
    header = f"// xnorflow {__version__}: network {top.design.network.name}"
    if behavioural:
        header += (
            "\n// Counters of bits are in behavioural form: for simulation, not for synthesis."
        )
    return f"{header}\n{pragmas}\n{text}"


def describe(design: Design, ports: AxiPorts = PLAIN_PORTS) -> dict:
    """Everything that a host or a bench needs to know about a design, as plain JSON values."""
    timing = result_timing(design, ports)
    network = design.network
    quantisation = network.quantisation
    return {
        "network": network.name,
        "labels": list(network.labels),
        "frame_shape": list(network.input.shape),
        "pixel_type": encode_type(network.input.type),
        **({} if quantisation is None else {"quantisation": asdict(quantisation)}),
        "input_lanes": design.input_lanes,
        "words_per_frame": design.words_per_frame,
        "frames_per_packet": design.frames_per_packet.value,
        "classes": design.classes,
        "score_bits": design.score_bits,
        "result_element_bits": result_element_bits(design),
        "axi_width": ports.width,
        "reset": ports.reset.value,
        **({"watched": True} if ports.watched else {}),
        "device": design.device.name,
        "cycles_per_frame": timing.cycles_per_frame,
        "latency": timing.latency,
        "single_buffered": design.single_buffered,
        "recompute": design.recompute,
        "steps": [
            {
                "name": stage.name,
                "sources": list(design.sources[stage.name]),
                "unit": stage.component.__name__,
                **stage.describe(design.depths.get(stage.name)),
            }
            for stage in design.stages
        ],
    }
