"""The class label."""

from dataclasses import dataclass

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import check_popcount, spell, spell_shape
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import FeatureMap, UInt


__all__ = ["ArgMax"]


@dataclass(frozen=True, eq=False)
class ArgMax(Node):
    """Index of the largest channel of a 1×1 map, the lowest one on ties; hands the scores on.

    Scores are integers, counts without P, or bits.
    """

    kind = "argmax"

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``: a single label."""
        if (x.height, x.width) != (1, 1):
            raise NetworkError(
                f"{self.name}: the scores must be a 1×1 map, not {spell_shape(x)} of "
                f"{spell(x.type)}"
            )
        check_popcount(self.name, False, x)
        return FeatureMap(1, 1, 1, UInt(max(1, (x.channels - 1).bit_length())))
