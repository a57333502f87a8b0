"""Constants of channels: tables of them, and units that compute with what is in these."""

from abc import ABC, abstractmethod

import numpy as np
from amaranth import *
from amaranth.lib.wiring import In, connect, flipped

from xnorflow.hw.arithmetic.constants import (
    ConstantTable,
    MemoryStyle,
    channel_rows,
)
from xnorflow.hw.arithmetic.loaded_memory import Contents, load_signature
from xnorflow.hw.arithmetic.memory import loading, memory_style, weight_style
from xnorflow.hw.ops.unit import LaneUnit
from xnorflow.hw.streams.words import vector_of


__all__ = ["ConstantUnit", "channel_contents", "channel_table"]


def channel_table(columns, source, *, lanes, device=None, classes=None, shapes=None):
    """Table of the constants that words of a map need.

    Parameters
    ----------
    columns : dict of :class:`str` to array of :class:`int`, (channels,) or (classes, channels)
        Constants by name.
    source : :class:`xnorflow.ir.FeatureMap`
        The map that comes in.
    lanes : :class:`int`
        Values a word.
    device : :class:`Device`, optional
        What it is for, which decides where it is kept; if nothing is said, Yosys does.
    classes : array of :class:`int`, (height, width), optional
        Border class of each pixel, for columns that depend on it.
    shapes : dict of :class:`str` to :class:`ShapeLike`, optional
        Shapes of the columns, if others may be loaded.
    """
    layout, rows = channel_rows(
        columns, lanes=lanes, vector=vector_of(source, lanes), shapes=shapes
    )
    choose = memory_style if shapes is None else weight_style
    style = MemoryStyle.AUTO if device is None else choose(device, layout.size, len(rows))
    classes = _needed(classes, columns, rows)
    loaded = None
    if shapes is not None:
        loaded = loading(device, layout.size, len(rows), in_order=classes is None)
    return ConstantTable(layout, rows, style=style, classes=classes, loaded=loaded)


def channel_contents(columns, source, *, lanes, device, classes, shapes):
    """What is loaded into such a table."""
    layout, rows = channel_rows(
        columns, lanes=lanes, vector=vector_of(source, lanes), shapes=shapes
    )
    classes = _needed(classes, columns, rows)
    loaded = loading(device, layout.size, len(rows), in_order=classes is None)
    order = None
    if classes is not None:
        words = len(rows) // (int(classes.max()) + 1)
        order = [first * words + n for first in classes.ravel().tolist() for n in range(words)]
    return Contents(layout.size, rows, loaded, order)


def _needed(classes, columns, rows):
    """Classes of pixels, if rows depend on them."""
    same = len(rows) == 1 or all(np.ndim(values) == 1 for values in columns.values())
    return None if same else classes


class ConstantUnit(LaneUnit, ABC):
    """Computes with each value and the constants of its channel.

    Takes a word every cycle; an output that is not taken stalls the whole pipeline. Where constants
    depend on a pixel's border class, pixels are counted.

    Parameters
    ----------
    node, source, lanes
        As for every `LaneUnit`.
    device : :class:`Device`, optional
        What it is for: see `channel_table`.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from input transfer to delivery.
    loaded_shapes : callable or None
        If others can be loaded, from a node and its source to the shapes of its table's columns.

    Members
    -------
    load : ``In(load_signature(loading))``
        If others can be loaded, and the device is to have weights of run time.
    """

    loaded_shapes = None

    def __init__(self, node, source, *, lanes, device=None):
        shapes = None
        if device is not None and device.runtime_weights and self.loaded_shapes is not None:
            shapes = self.loaded_shapes(node, source)
        options = {"lanes": lanes, "device": device, "shapes": shapes}
        options["classes"] = getattr(node, "classes", None)
        ports = {}
        if shapes is not None:
            loaded = channel_contents(self.columns(node)["constants"], source, **options).loading
            ports["load"] = In(load_signature(loaded))
        super().__init__(node, source, lanes=lanes, **ports)
        self._tables = {
            name: channel_table(columns, source, **options)
            for name, columns in self.columns(node).items()
        }

    @staticmethod
    @abstractmethod
    def columns(node):
        """Columns of the unit's tables, by their names."""

    def _fetch(self, m):
        """Handshake of a unit that moves as one, and its tables.

        Returns
        -------
        en : :class:`Signal`
            Clock enable of everything.
        word : :class:`View`
            A word, 2 enabled cycles after its transfer.
        rows : :class:`View`
            Of each table, the row for that word.
        """
        valid = Signal(self.latency)
        en = Signal()
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(en),
            self.o.valid.eq(valid[-1]),
        ]
        for name, table in self._tables.items():
            m.submodules[name] = table
            m.d.comb += [table.en.eq(en), table.step.eq(self.i.valid)]
            if table.loaded:
                connect(m, flipped(self.load), table.load)
        waiting = Signal(self.i.p.shape(), reset_less=True)
        word = Signal(self.i.p.shape(), reset_less=True)
        with m.If(en):
            m.d.sync += [valid.eq(Cat(self.i.valid, valid)), waiting.eq(self.i.p), word.eq(waiting)]
        return en, word, *(table.row for table in self._tables.values())
