"""What a folder keeps of a design whose weights are loaded at run time, so that others can be."""

import json
from dataclasses import astuple, replace
from pathlib import Path

from xnorflow.errors import DesignError
from xnorflow.files import write_atomically
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families import find_device
from xnorflow.hw.families.device import Cell
from xnorflow.hw.ops.folding import Folding
from xnorflow.ir import xnf


__all__ = ["keep_design", "kept_design"]

_NETWORK, _DESIGN = "network.xnf", "loading.json"


def keep_design(design: Design, folder: Path) -> None:
    """Write down how a design is folded, and its network, if others can be loaded into it."""
    if not design.device.runtime_weights:
        return
    facts = {
        "device": design.device.name,
        "input_lanes": design.input_lanes,
        "pace": design.pace,
        "single_buffered": design.single_buffered,
        "recompute": design.recompute,
        "memories": {name: cell.value for name, cell in design.memories.items()},
        "foldings": {name: astuple(folding) for name, folding in design.foldings.items()},
    }
    write_atomically(folder / _NETWORK, xnf.dumps(design.network))
    write_atomically(folder / _DESIGN, f"{json.dumps(facts, indent=2)}\n".encode())


def kept_design(folder: Path) -> Design:
    """Plan the design of a folder again: the same tables, whatever else was asked for.

    Raises
    ------
    DesignError
        If the folder has none.
    """
    path = folder / _DESIGN
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        foldings = {name: Folding(*each) for name, each in facts["foldings"].items()}
        device = replace(find_device(facts["device"]), runtime_weights=True)
        lanes, options = facts["input_lanes"], {"pace": facts["pace"]}
        options |= {name: facts[name] for name in ("single_buffered", "recompute")}
        memories = {name: Cell(cell) for name, cell in facts["memories"].items()}
    except FileNotFoundError:
        raise DesignError(
            f"{folder} has no design whose weights can be loaded: build one with --weights runtime"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DesignError(f"{path} is damaged: build the design again") from None
    return plan(xnf.load(folder / _NETWORK), foldings, lanes, device, memories=memories, **options)
