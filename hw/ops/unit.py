"""Base classes of the components of nodes: their parameters, and their ports."""

from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.streams.words import check_lanes, map_layout


__all__ = ["JoinUnit", "LaneUnit", "MapUnit"]


class LaneUnit(wiring.Component):
    """Takes the words of a map.

    Parameters
    ----------
    node : :class:`xnorflow.ir.Node`
        Of the unit's name.
    source : :class:`xnorflow.ir.FeatureMap`
        The map that comes in.
    lanes : :class:`int`
        Values a word.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    o : ``Out(stream.Signature(map_layout(node.infer(source), lanes)))``

    Raises
    ------
    NetworkError
        If the node does not fit its source.
    """

    def __init__(self, node, source, *, lanes, **ports):
        delivered = node.infer(source)
        self.node = node
        self.source = source
        self.lanes = lanes
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "o": Out(stream.Signature(map_layout(delivered, lanes))),
            **ports,
        })


class MapUnit(LaneUnit):
    """Takes the words of a map whose pixels they do not cut.

    Raises
    ------
    :exc:`ValueError`
        If the lanes do not divide the channels.
    """

    def __init__(self, node, source, *, lanes):
        check_lanes(source, lanes)
        super().__init__(node, source, lanes=lanes)


class JoinUnit(wiring.Component):
    """Takes the words of two maps.

    Parameters
    ----------
    node : :class:`xnorflow.ir.Node`
        Of the unit's name.
    source, other : :class:`xnorflow.ir.FeatureMap`
        The maps that come in.
    lanes : :class:`int`
        Values a word.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    i_other : ``In(stream.Signature(map_layout(other, lanes)))``
    o : ``Out(stream.Signature(map_layout(node.infer(source, other), lanes)))``

    Raises
    ------
    NetworkError
        If the node does not fit its sources.
    """

    def __init__(self, node, source, other, *, lanes):
        self.node = node
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes))),
            "i_other": In(stream.Signature(map_layout(other, lanes))),
            "o": Out(stream.Signature(map_layout(node.infer(source, other), lanes))),
        })
