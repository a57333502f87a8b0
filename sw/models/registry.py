"""Registry of models that have a name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TypeVar

from torch import nn

from xnorflow.errors import NetworkError
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.arguments import check_kind, check_sizes


__all__ = ["NAMED", "Task", "named", "scaled"]


@dataclass(frozen=True)
class Task:
    """Shape, classes and pixels that a model that has a name is made for.

    Attributes
    ----------
    shape : (channels, height, width)
        Of an image.
    classes : int
    pixels : IntegerPixels, optional
        Statistics, for models whose first layer has integer weights; without, all have a threshold.

    Raises
    ------
    NetworkError
        If a value is not what it should be.
    """

    shape: tuple[int, int, int]
    classes: int
    pixels: IntegerPixels | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise NetworkError(
                f"an image must have channels, a height and a width, not {self.shape!r}"
            )
        channels, height, width = self.shape
        check_sizes(channels=channels, height=height, width=width, classes=self.classes)
        if self.pixels is not None:
            check_kind("pixels", self.pixels, IntegerPixels)
            means, others = len(self.pixels.mean), len(self.pixels.deviation)
            if not means == others == channels:
                raise NetworkError(
                    f"mean and deviation must have {channels} channels, not {means} and {others}"
                )

    @property
    def statistics(self) -> IntegerPixels:
        """Those of pixels, for models that cannot do without.

        Raises
        ------
        NetworkError
            If there are none.
        """
        if self.pixels is None:
            raise NetworkError(
                "a residual model needs the mean and the standard deviation of pixels"
            )
        return self.pixels


_Factory = TypeVar("_Factory", bound=Callable[..., nn.Module])
_FACTORIES: dict[str, Callable[..., nn.Module]] = {}


def named(factory: _Factory) -> _Factory:
    """Register a function of a `Task`, with options such as ``method``, that makes a model.

    The model is called what the function is, with hyphens. Nothing else need know of it: all files
    of this folder are searched.
    """
    _FACTORIES[factory.__name__.replace("_", "-")] = factory
    return factory


class _Named(Mapping[str, Callable[..., nn.Module]]):
    """Factories by name. The files that have them are imported when one is asked for."""

    def __getitem__(self, name: str) -> Callable[..., nn.Module]:
        _import_models()
        return _FACTORIES[name]

    def __iter__(self) -> Iterator[str]:
        _import_models()
        return iter(_FACTORIES)

    def __len__(self) -> int:
        _import_models()
        return len(_FACTORIES)


@cache
def _import_models() -> None:
    for module in iter_modules([str(Path(__file__).parent)]):
        import_module(f"xnorflow.sw.models.{module.name}")


NAMED: Mapping[str, Callable[..., nn.Module]] = _Named()
"""Makes models from a `Task`, by their names."""


def scaled(width: float, *sizes: int) -> tuple[int, ...]:
    """Each of ``sizes`` times ``width``, at least 1."""
    return tuple(max(1, round(width * size)) for size in sizes)
