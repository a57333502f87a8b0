"""Layout of a network's graph: a place for every node, and a curve for every edge.

Nodes go down in rows, each below all that feed it, in the leftmost column of those that is free;
so a branch has a column of its own. Edges that skip rows curve around what is between.
"""

from dataclasses import dataclass

from xnorflow.report.facts import NodeFacts


__all__ = ["Box", "Drawing", "draw"]

WIDTH, HEIGHT = 210, 46
"""Of a node."""

_GAP_X, _GAP_Y, _MARGIN = 50, 30, 16


@dataclass(frozen=True)
class Box:
    """A node, and where its upper left corner is."""

    node: NodeFacts
    x: int
    y: int


@dataclass(frozen=True)
class Drawing:
    """A graph: its size, its nodes, and the paths of its edges in the words of SVG."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    edges: tuple[str, ...]


def draw(nodes: tuple[NodeFacts, ...]) -> Drawing:
    """Lay out nodes that come in an order in which each is behind those that feed it."""
    places: dict[str, tuple[int, int]] = {}  # column and row
    taken: set[tuple[int, int]] = set()
    for node in nodes:
        row = max((places[source][1] + 1 for source in node.sources), default=0)
        column = min((places[source][0] for source in node.sources), default=0)
        while (column, row) in taken:
            column += 1
        places[node.name] = column, row
        taken.add((column, row))
    corners = {
        name: (_MARGIN + column * (WIDTH + _GAP_X), _MARGIN + row * (HEIGHT + _GAP_Y))
        for name, (column, row) in places.items()
    }
    edges = tuple(
        _edge(corners[source], corners[node.name], _blocked(places, taken, source, node.name))
        for node in nodes
        for source in node.sources
    )
    return Drawing(
        width=max(x for x, _ in corners.values()) + WIDTH + _GAP_X + _MARGIN,
        height=max(y for _, y in corners.values()) + HEIGHT + _MARGIN,
        boxes=tuple(Box(node, *corners[node.name]) for node in nodes),
        edges=edges,
    )


def _blocked(
    places: dict[str, tuple[int, int]], taken: set[tuple[int, int]], source: str, end: str
) -> bool:
    """Whether a node is below ``source``, and above the row of ``end``."""
    (column, first), (_, last) = places[source], places[end]
    return any((column, row) in taken for row in range(first + 1, last))


def _edge(start: tuple[int, int], end: tuple[int, int], around: bool) -> str:
    if around:  # from side to side
        x0, y0 = start[0] + WIDTH, start[1] + HEIGHT // 2
        x1, y1 = end[0] + WIDTH, end[1] + HEIGHT // 2
        aside = max(x0, x1) + _GAP_X
        return f"M{x0},{y0} C{aside},{y0} {aside},{y1} {x1},{y1}"
    x0, y0 = start[0] + WIDTH // 2, start[1] + HEIGHT
    x1, y1 = end[0] + WIDTH // 2, end[1]
    return f"M{x0},{y0} V{y1 - _GAP_Y} C{x0},{y1} {x1},{y1 - _GAP_Y} {x1},{y1}"
