"""Tensors of an ONNX graph: constants, and those that the input decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import LoweringError
from xnorflow.ir.windows import Padding


__all__ = [
    "Call",
    "Constant",
    "Levels",
    "Tensor",
    "arrange",
    "fractions",
    "one",
    "per_channel",
    "taken",
]


@dataclass(frozen=True, eq=False)
class Levels:
    """A constant ``code · scale`` that was quantised; the product is not rounded.

    Attributes
    ----------
    code : int array
    scale : float64 array, of the same shape
    """

    code: NDArray[np.int64]
    scale: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.code.shape


Constant = NDArray[Any] | Levels


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor that the input decides: the values of a map, in some order.

    Attributes
    ----------
    source : str
        Name of the operation that delivers the map, or `xnorflow.ir.INPUT`.
    map : (int, int, int)
        Channels, rows and columns.
    order : int array, of the tensor's shape
        Where each of its values is in the map, counted by channel, row, column.
    bits : bool
        Whether they are the levels of a quantiser.
    padding : int, or several
        Zeros that are still to be put around the map, as nodes have them; 0 where there are none.
    end : str
        What has made scores or a label of them, after which there can be nothing else.
    """

    source: str
    map: tuple[int, int, int]
    order: NDArray[np.int32]
    bits: bool = False
    padding: Padding = 0
    end: str = ""

    @property
    def plain(self) -> bool:
        """Whether the tensor is the map itself: (1, channels, rows, columns).

        Or (1, channels, columns) if it has one row, or (1, channels) if it has one pixel.
        """
        channels, rows, columns = self.map
        shapes: list[tuple[int, ...]] = [(1, *self.map)]
        if rows == 1:
            shapes += [(1, channels, columns), *([(1, channels)] if columns == 1 else [])]
        return self.order.shape in shapes and np.array_equal(
            self.order.reshape(-1), np.arange(self.order.size)
        )


def arrange(*shape: int) -> NDArray[np.int32]:
    """Order of a tensor of a ``shape`` whose values are in the order of its map."""
    return _count(int(np.prod(shape, dtype=np.int64))).reshape(shape)


@lru_cache(16)
def _count(size: int) -> NDArray[np.int32]:
    return np.arange(size, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Call:
    """A node, with its inputs.

    Attributes
    ----------
    origin : str
        Name of the node, and its operator, for errors.
    op : str
    inputs : tuple of Tensor, Constant or None
        None where an optional one is left out.
    attributes : mapping of str to value
    channels_last : bool
        Whether the operator has its channels in the last axis.
    """

    origin: str
    op: str
    inputs: tuple[Tensor | Constant | None, ...]
    attributes: Mapping[str, Any]
    channels_last: bool = False

    def error(self, why: str) -> LoweringError:
        """Refusal of this node."""
        return LoweringError(f"{self.origin} {why}")

    def tensor(self) -> Tensor:
        """The first input, which the network's input decides."""
        x = self.inputs[0] if self.inputs else None
        if not isinstance(x, Tensor):
            raise self.error("must have an input that the network's input decides, as its first")
        return x

    def constant(self, n: int) -> Constant | None:
        """Constant input ``n``, if there is one."""
        x = self.inputs[n] if n < len(self.inputs) else None
        if isinstance(x, Tensor):
            raise self.error(f"must have a constant as input {n + 1}")
        return x

    def needed(self, n: int) -> Constant:
        """Constant input ``n``, which there must be."""
        x = self.constant(n)
        if x is None:
            raise self.error(f"lacks its input {n + 1}")
        return x

    def integers(self, name: str, n: int | None = None) -> list[int] | None:
        """Integers of an attribute, or of the constant input ``n``, if there are any."""
        value = self.attributes.get(name)
        if value is None and n is not None:
            value = self.constant(n)
        if value is None:
            return None
        found = np.atleast_1d(np.asarray(value))
        if found.dtype.kind not in "iu" or found.ndim != 1:
            raise self.error(f"has {name} that are no integers")
        return [int(each) for each in found]

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an integer."""
        found = self.integers(name)
        return default if not found else found[0]

    def number(self, name: str, default: float) -> Fraction:
        """An attribute that is a number."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise self.error(f"has {name} {value!r}, which is not a number")
        return Fraction(value)

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        return str(self.attributes.get(name, default))


def fractions(constant: Constant, where: NDArray[np.integer], call: Call) -> list[Fraction]:
    """Exact values of a constant at the positions ``where``."""
    if isinstance(constant, Levels):
        codes, scales = constant.code.reshape(-1)[where], constant.scale.reshape(-1)[where]
        return [int(c) * Fraction(s) for c, s in zip(codes, scales.tolist(), strict=True)]
    values = np.asarray(constant).reshape(-1)[where]
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise call.error("has a constant whose values are not finite numbers")
    return [Fraction(value) for value in values.tolist()]


def one(constant: Constant, call: Call, what: str) -> Fraction:
    """The only value of a constant, which may be repeated."""
    values = set(fractions(constant, np.arange(np.prod(constant.shape, dtype=int)), call))
    if len(values) != 1:
        raise call.error(f"must have one {what} for all channels")
    return values.pop()


def per_channel(constant: Constant, x: Tensor, call: Call) -> list[Fraction]:
    """Values of a constant that is spread over ``x``: one for each channel, or one for all."""
    size = int(np.prod(constant.shape, dtype=np.int64))
    if size == 1:
        return fractions(constant, np.zeros(1, np.int64), call)
    positions = np.arange(size, dtype=np.int64).reshape(constant.shape)
    try:
        positions = np.broadcast_to(positions, x.order.shape)
    except ValueError:
        raise call.error(
            f"has a constant of the shape {constant.shape} for a tensor {x.order.shape}"
        ) from None
    found = np.empty(x.order.size, np.int64)
    found[x.order.reshape(-1)] = positions.reshape(-1)
    by_channel = found.reshape(x.map[0], -1)
    if (by_channel != by_channel[:, :1]).any():
        raise call.error("has a constant that is neither a number nor one for each channel")
    return fractions(constant, by_channel[:, 0], call)


def taken(constant: Constant, move: Callable[[NDArray[Any]], NDArray[Any]]) -> Constant:
    """A constant whose values are moved."""
    if isinstance(constant, Levels):
        return Levels(move(constant.code), move(constant.scale))
    return move(constant)
