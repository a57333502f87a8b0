"""xnorflow: from a trained binary neural network to an FPGA bitstream, bit for bit.

The functions below are imported when they are first used, so ``import xnorflow`` costs nothing.

======================================  ===========================================================
``xnorflow.nn``                         layers and quantisers, for modules of your own
``prepare``, ``lower``, ``compare``     a module → on a fixed-point grid → a network of integers
``load``, ``save``, ``golden``          a network's file, and what it computes
``fold``, ``choose``, ``choose_for``    a network → a design, for cycles, a device, or a board
``generate``, ``simulate``              a design → Verilog → its simulation
``by_head``, ``labels_of``, ``top_k``   scores → those of each head, labels, the k best
``build``, ``find_target``              a design → a bitstream for a board
``load_data``, ``read_data``            labelled data: a published data set or your own; your own
======================================  ===========================================================
"""

from importlib import import_module
from typing import Any


__version__ = "0.1.0"

_WHERE = {
    "FeatureMap": "xnorflow.ir",
    "Grid": "xnorflow.sw.nn.grid",
    "Int": "xnorflow.ir",
    "Quantisation": "xnorflow.ir",
    "UInt": "xnorflow.ir",
    "build": "xnorflow.boards.build",
    "by_head": "xnorflow.scores",
    "choose": "xnorflow.hw.compile.choose",
    "choose_for": "xnorflow.boards.plan",
    "compare": "xnorflow.sw.compare",
    "find_device": "xnorflow.hw.families",
    "find_target": "xnorflow.boards.targets",
    "fold": "xnorflow.hw.compile.fold",
    "generate": "xnorflow.hw.compile.emit",
    "golden": "xnorflow.sw.golden",
    "labels_of": "xnorflow.scores",
    "load": "xnorflow.sw.load",
    "load_data": "xnorflow.sw.data",
    "lower": "xnorflow.sw.lower",
    "prepare": "xnorflow.sw.frontend.prepare",
    "read_data": "xnorflow.sw.data",
    "save": "xnorflow.ir.xnf",
    "simulate": "xnorflow.sim.simulate",
    "top_k": "xnorflow.scores",
    "train": "xnorflow.sw.train",
}
"""The module of each public name."""


def __getattr__(name: str) -> Any:
    if name == "nn":
        return import_module("xnorflow.nn")
    if name not in _WHERE:
        raise AttributeError(f"module 'xnorflow' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE, "nn"])
