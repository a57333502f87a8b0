"""Lowering: a trained model → the network of integers that computes the same."""

import copy
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from xnorflow.errors import LoweringError, NetworkError
from xnorflow.ir import ArgMax, FeatureMap, Head, Network, Node, Provenance, Quantisation
from xnorflow.sw.frontend.prepare import is_prepared
from xnorflow.sw.frontend.reader import graph_of
from xnorflow.sw.lowering.exact import exact_nodes
from xnorflow.sw.lowering.grid import grid_nodes


__all__ = ["Labels", "lower", "network_of"]

Labels = tuple[str, ...] | Mapping[str, tuple[str, ...]] | None


def lower(
    model: nn.Module,
    *,
    input: FeatureMap | None = None,
    quantisation: Quantisation | None = None,
    name: str = "network",
    labels: Labels = None,
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
        one for scores of at least 0. With ``()`` the network ends with its scores. Of a model
        that returns several tensors, in a tuple or a dict, they are a dict by the outputs' names;
        its network ends with all scores, and has a `Head` for each output.
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

    Examples
    --------
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Flatten(),
    ...     nn.BinaryLinear(64, 10, nn.SignWeight(shared_scale=True), nn.InputThreshold()),
    ... )
    >>> frame = xnorflow.FeatureMap(8, 8, 1, xnorflow.UInt(8))
    >>> network = xnorflow.lower(model.eval(), input=frame)
    >>> [node.name for node in network.nodes]
    ['layer_1_bits', 'layer_1', 'scores', 'label']
    """
    model = copy.deepcopy(model).double().eval()
    for what, tensor in model.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise LoweringError(f"{what} has values that are not finite")
    try:
        if is_prepared(model):
            if quantisation not in (None, Quantisation()):
                raise LoweringError("a model on a fixed-point grid takes integers as they are")
            frame = model.meta["frame"]
            nodes, heads = grid_nodes(model)
        elif input is None:
            raise LoweringError("lower must be told what a frame is: input=FeatureMap(…)")
        else:
            frame = input
            graph = graph_of(model, frame)
            nodes, heads = exact_nodes(graph, frame, quantisation or Quantisation())
        return network_of(
            nodes,
            frame,
            heads=heads,
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
    heads: tuple[Head, ...] = (),
    quantisation: Quantisation | None = None,
    name: str = "network",
    labels: Labels = None,
    provenance: Provenance | None = None,
) -> Network:
    """Network of ``nodes`` up to its scores, with a label behind them: see `lower`.

    Raises
    ------
    NetworkError
        If no network can have such nodes.
    LoweringError
        If the labels are not those of its outputs.
    """
    given = labels if isinstance(labels, Mapping) else {}
    known = {head.name for head in heads}
    if (heads and labels and not given) or {*given} - known:
        outputs = f"by its outputs' names, {', '.join(sorted(known))}" if heads else "a tuple"
        raise LoweringError(f"the labels of this model must be {outputs}, not {labels!r:.80}")
    network = Network(
        name=name,
        input=frame,
        nodes=tuple(nodes),
        labels=(),
        provenance=provenance or Provenance(),
        quantisation=quantisation,
        heads=tuple(replace(head, labels=given.get(head.name, ())) for head in heads),
    )
    if labels == () or heads:
        return network
    classes = network.maps[nodes[-1].name].channels
    label = ArgMax("label", nodes[-1].name)
    numbers = tuple(map(str, range(max(2, classes))))
    names = numbers if labels is None or isinstance(labels, Mapping) else labels
    return replace(network, nodes=(*nodes, label), labels=names)
