"""Comments in Verilog that say of every module what it is: layer, unit, folding and cycles."""

import re

from xnorflow.hw.compile.axi import AxiStreamTop


__all__ = ["commented", "split_modules"]

_MODULE = re.compile(r"^module \\?(\S+?)(?= |\()", re.MULTILINE)

_UNITS = {
    "gearbox": "InputGearbox: transfers of the AXI width become words",
    "serialiser": "ResultSerialiser: results become transfers of the AXI width",
    "core.guard": "FrameGuard: lets frames of the right length through, marks the others",
    "core.verdicts": "Fifo: whether each frame on its way is good",
    "core.gate": "VerdictGate: drops the results of bad frames",
    "core.loader": "Loader: writes weights that are loaded at run time",
    "core.pacer": "FramePacer: frames begin no sooner than the design takes them",
}
"""Units that are no stage, by their place in the top module."""


def commented(verilog: str, top: AxiStreamTop, name: str) -> str:
    """The same Verilog, with a comment over each module.

    Parameters
    ----------
    verilog : str
        As `xnorflow.hw.compile.verilog.component_verilog` writes it.
    top : AxiStreamTop
        What it was generated from.
    name : str
        Name of the top module.
    """
    design = top.design
    said = {f"core.{stage.name}": _of_stage(design, stage) for stage in design.stages} | _UNITS
    network = f"network {design.network.name}, for {design.device.name}"
    said["core"] = f"{network}: a frame in {design.cycles_per_frame} cycles"

    def comment(found: re.Match[str]) -> str:
        module = found[1]
        if module == name:
            return f"// {network}: AXI4-Stream ports\n{found[0]}"
        place = module.removeprefix(f"{name}.")
        return f"// {_said_of(place, said)}\n{found[0]}"

    return _MODULE.sub(comment, verilog)


def split_modules(verilog: str) -> tuple[str, dict[str, str]]:
    """Take Verilog with comments apart: what is before its modules, and each of them by name."""
    head, *modules = re.split(r"^(?=// .*\nmodule )", verilog, flags=re.MULTILINE)
    return head, {_MODULE.search(module)[1]: module for module in modules}


def _said_of(place: str, said: dict[str, str]) -> str:
    """What is said of a module, or of the innermost one that it is in."""
    outer, inner = place, ""
    while outer not in said:
        outer, _, last = outer.rpartition(".")
        if not outer:
            return place.replace("_", " ")
        inner = f"{last}.{inner}" if inner else last
    return f"{inner} of {said[outer]}" if inner else said[outer]


def _of_stage(design, stage) -> str:
    """Name, layer, unit, folding and cycles of a stage."""
    facts = stage.describe(design.depths.get(stage.name))
    parts = [f"{stage.name}: {stage.component.__name__}"]
    if facts.get("layer", stage.name) != stage.name:
        parts[0] += f" of layer {facts['layer']}"
    if "pe" in facts:
        parts.append(f"{facts['neurons']} neurons of {facts['synapses']} synapses")
        parts.append(f"PE {facts['pe']}, SIMD {facts['simd']}")
    for fact, form in (
        ("lanes", "lanes {}"),
        ("ratio", "ratio {}"),
        ("depth", "buffer of {} words"),
    ):
        if fact in facts:
            parts.append(form.format(facts[fact]))
    parts.append(f"{stage.busy} cycles a frame")
    return ", ".join(parts)
