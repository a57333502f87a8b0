"""Units with words that they get and words that they must deliver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


__all__ = ["VECTORS", "Case", "Word", "words_of"]

VECTORS = 6
"""Vectors that a unit gets in a test."""


Word = Mapping[str, Any]
"""Fields of a payload. Lists may be short: what they lack means nothing."""


@dataclass(frozen=True)
class Case:
    """A unit with an input stream ``i``, what it gets, and what it must deliver.

    Attributes
    ----------
    unit : Component
        The hardware.
    inputs, expected : list of Word
        Payloads of `VECTORS` vectors.
    cycles : int or None
        Clock cycles a vector at full rate, unless that is left open.
    latency : int or None
        Clock cycles from the transfer of input word ``completing`` to the first output word.
    outputs : tuple of str
        The output streams, all of which deliver the same.
    others : list of Word
        Payloads for the second input stream, if there is one.
    second : str
        Its name.
    more : mapping of str to list of Word
        Payloads for any further input streams, by their names.
    """

    unit: Any
    inputs: Sequence[Word]
    expected: Sequence[Word]
    cycles: int | None
    latency: int | None
    completing: int = 0
    outputs: tuple[str, ...] = ("o",)
    others: Sequence[Word] = ()
    second: str = "i_other"
    more: Mapping[str, Sequence[Word]] = field(default_factory=dict)


def words_of(values: NDArray[Any], lanes: int, **fields: Sequence[int]) -> list[Word]:
    """Words of vectors (vectors, length); each vector's ``fields`` go along with all its words."""
    return [
        {
            "lanes": vector[start : start + lanes].tolist(),
            **{name: column[n] for name, column in fields.items()},
        }
        for n, vector in enumerate(values)
        for start in range(0, len(vector), lanes)
    ]
