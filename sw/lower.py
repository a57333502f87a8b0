"""Lowering: a trained model → the network of integers that computes the same."""

import copy
from dataclasses import replace

from torch import nn

from xnorflow.errors import LoweringError, NetworkError
from xnorflow.ir import ArgMax, FeatureMap, Network, Node, Provenance, Quantisation
from xnorflow.sw.frontend.prepare import is_prepared
from xnorflow.sw.frontend.reader import graph_of
from xnorflow.sw.lowering.exact import exact_nodes
from xnorflow.sw.lowering.grid import grid_nodes


__all__ = ["lower", "network_of"]


def lower(
    model: nn.Module,
    *,
    input: FeatureMap | None = None,
    quantisation: Quantisation | None = None,
    name: str = "network",
    labels: tuple[str, ...] | None = None,
    provenance: Provenance | None = None,
) -> Network:
    """Turn a trained model into the network of integers that computes the same.

    Parameters
    ----------
    model : Module
        It is read in float64 and evaluation mode, and not changed. It takes batches (N, channels,
        height, width) of values, and returns the scores of each class, (N, classes).
    input : FeatureMap
        Shape and type of a frame of integers, as in ``FeatureMap(28, 28, 1, UInt(8))``. A model
        that was prepared for a grid has its own.
    quantisation : Quantisation, optional
        What the integers stand for; otherwise themselves.
    name : str
        Name of the network.
    labels : tuple of str, optional
        Names of the classes, otherwise their numbers. Of a single score they are two, the second
        one for scores of at least 0. With ``()`` the network ends with its scores.
    provenance : Provenance, optional
        Where the model came from.

    Returns
    -------
    Network
        Its nodes are named as the model's modules are. Scores are logits times a positive number,
        the same for all classes and frames: see `xnorflow.sw.lowering.scores`.

    Raises
    ------
    LoweringError
        If the model is not on a grid where it needs one, or if a layer or a parameter has a value
        or a form that no network can have.
    """
    model = copy.deepcopy(model).double().eval()
    for what, tensor in model.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise LoweringError(f"{what} has values that are not finite")
    try:
        if is_prepared(model):
            if quantisation not in (None, Quantisation()):
                raise LoweringError("a model on a fixed-point grid takes integers as they are")
            frame, nodes = model.meta["frame"], grid_nodes(model)
        elif input is None:
            raise LoweringError("lower must be told what a frame is: input=FeatureMap(…)")
        else:
            frame = input
            nodes = exact_nodes(graph_of(model, frame), frame, quantisation or Quantisation())
        return network_of(
            nodes,
            frame,
            quantisation=quantisation,
            name=name,
            labels=labels,
            provenance=provenance,
        )
    except NetworkError as error:
        hint = "; a grid of fewer bits may help" if is_prepared(model) else ""
        raise LoweringError(f"no network can hold this model: {error}{hint}") from None


def network_of(
    nodes: list[Node],
    frame: FeatureMap,
    *,
    quantisation: Quantisation | None = None,
    name: str = "network",
    labels: tuple[str, ...] | None = None,
    provenance: Provenance | None = None,
) -> Network:
    """Network of ``nodes`` up to its scores, with a label behind them: see `lower`.

    Raises
    ------
    NetworkError
        If no network can have such nodes.
    """
    network = Network(
        name=name,
        input=frame,
        nodes=tuple(nodes),
        labels=(),
        provenance=provenance or Provenance(),
        quantisation=quantisation,
    )
    if labels == ():
        return network
    classes = network.maps[nodes[-1].name].channels
    label = ArgMax("label", nodes[-1].name)
    numbers = tuple(map(str, range(max(2, classes))))
    return replace(network, nodes=(*nodes, label), labels=labels or numbers)
