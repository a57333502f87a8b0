"""Checks of what layers are made with."""

from enum import Enum
from typing import TypeVar

from xnorflow.errors import NetworkError


__all__ = ["check_bits", "check_fraction", "check_kind", "check_sizes", "member"]

_Member = TypeVar("_Member", bound=Enum)


def check_sizes(*, least: int = 1, **sizes: object) -> None:
    """Check that each of the ``sizes`` is an integer, and at ``least`` so large.

    Raises
    ------
    NetworkError
        If one is not.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < least:
            raise NetworkError(f"{name} must be an integer of at least {least}, not {size!r}")


def check_kind(name: str, value: object, kind: type) -> None:
    """Check that a ``value`` is of a ``kind``, such as a member of an enumeration.

    Raises
    ------
    NetworkError
        If it is not.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOUaeiou" else "a"
        raise NetworkError(f"{name} must be {article} {kind.__name__}, not {value!r}")


def member(name: str, value: object, kind: type[_Member]) -> _Member:
    """Member of an enumeration that has a ``value``.

    Raises
    ------
    NetworkError
        If none has it.
    """
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(each.value) for each in kind)
        raise NetworkError(f"{value!r} is not a {name}: choose from {known}") from None


def check_bits(bits: object) -> None:
    """Check that integer weights can have so many ``bits``.

    Raises
    ------
    NetworkError
        If they cannot.
    """
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 16:
        raise NetworkError(f"integer weights must have 1 to 16 bits, not {bits!r}")


def check_fraction(fraction: object) -> None:
    """Check that a grid can have so many fractional bits; None stands for no grid.

    Raises
    ------
    NetworkError
        If it cannot.
    """
    if fraction is not None:
        check_sizes(least=0, fraction=fraction)
