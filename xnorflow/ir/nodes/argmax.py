"""The class label."""

from dataclasses import dataclass

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import check_scores, spell
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import FeatureMap, Int, UInt


__all__ = ["ArgMax"]


@dataclass(frozen=True, eq=False)
class ArgMax(Node):
    """Index of the largest channel of a 1×1 map, the lowest one on ties; hands the scores on.

    A single score s decides between two classes by its sign: the label is 1 if s ≥ 0, else 0.
    Scores are integers, counts without P, or bits; a single one is a signed integer.
    """

    kind = "argmax"

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``: a single label."""
        check_scores(self.name, x)
        if x.channels == 1 and not isinstance(x.type, Int):
            raise NetworkError(
                f"{self.name}: a single score must be a signed integer, not {spell(x.type)}"
            )
        return FeatureMap(1, 1, 1, UInt(max(1, (x.channels - 1).bit_length())))
