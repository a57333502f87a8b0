"""Base of all nodes of a network."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from xnorflow.ir.checks import check_name, check_source
from xnorflow.ir.values import FeatureMap


__all__ = ["Node"]


@dataclass(frozen=True, eq=False)
class Node(ABC):
    """A node of a network.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.

    Attributes
    ----------
    kind : str
        What it is called in files.
    feeds : tuple of str
        Fields that name what feeds it.
    header : tuple of str
        Attributes that stand in a file's graph, in this order. All other fields are tensors.
    optional : tuple of str
        Attributes that stand behind these where they are not the default.
    """

    kinds: ClassVar[dict[str, "type[Node]"]] = {}
    """All of them, by `kind`."""

    kind: ClassVar[str]
    feeds: ClassVar[tuple[str, ...]] = ("source",)
    header: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()

    name: str
    source: str

    def __init_subclass__(cls) -> None:
        if "kind" in cls.__dict__:
            Node.kinds[cls.kind] = cls

    def __post_init__(self) -> None:
        check_name(self.name)
        for source in self.sources:
            check_source(self.name, source)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of what feeds it, in the order in which `infer` takes their maps."""
        return tuple(getattr(self, feed) for feed in self.feeds)

    @abstractmethod
    def infer(self, *args: Any, **kwargs: Any) -> FeatureMap:
        """Map that it delivers for the maps of its `sources`.

        Raises
        ------
        NetworkError
            If they do not fit.
        """
