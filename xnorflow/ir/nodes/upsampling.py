"""Upsampling: more pixels."""

from dataclasses import dataclass, replace

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import spell
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import Counts, FeatureMap
from xnorflow.ir.windows import Pair, check_pair, pair


__all__ = ["Upsample"]


@dataclass(frozen=True)
class Upsample(Node):
    """Repeat every pixel: ``y[r, c, k] = x[⌊r / rows⌋, ⌊c / columns⌋, k]``, bits or integers.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    factor : int or (rows, columns)
        How often rows and columns are there.
    """

    kind = "upsample"
    header = ("factor",)

    factor: Pair

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", check_pair(f"{self.name}: factor", self.factor))

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        if isinstance(x.type, Counts):
            raise NetworkError(
                f"{self.name}: the input must be bits or integers, not {spell(x.type)}"
            )
        rows, columns = pair(self.factor)
        return replace(x, height=rows * x.height, width=columns * x.width)
