"""Names of a network's nodes, from those of a model's modules."""

import re

import torch
from torch import fx

from xnorflow.ir import INPUT
from xnorflow.sw.nn.frame import DySign
from xnorflow.sw.nn.grid_layers import Constant
from xnorflow.sw.nn.sums import GridNorm1d, GridNorm2d, StreamSums


__all__ = ["names_of"]

_MOST = 48
_NAMELESS = Constant, DySign, GridNorm1d, GridNorm2d, StreamSums
"""Layers of which no node is made."""


def names_of(model: fx.GraphModule) -> dict[fx.Node, str]:
    """Names of a network's nodes; that of a `Round` is that of the batch norm before it."""
    modules = dict(model.named_modules())
    names: dict[fx.Node, str] = {}
    used = {INPUT, "scores", "label"}
    for n in model.graph.nodes:
        module = modules.get(str(n.target)) if n.op == "call_module" else None
        if isinstance(module, _NAMELESS) or (module is None and n.target is not torch.cat):
            continue
        path = n.name if module is None else str(n.target)
        name = _name(path.removesuffix("_round"))
        if name in used:
            name = _name(path)
        number, base = 1, name
        while name in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name)
        names[n] = name
    return names


def _name(path: str) -> str:
    text = re.sub(r"[^a-z0-9]+", "_", path.lower())[-_MOST:].strip("_")
    return text if re.match(r"[a-z]", text) else f"layer_{text}"
