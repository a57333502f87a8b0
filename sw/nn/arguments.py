"""Checks of what layers are made with."""

from xnorflow.errors import NetworkError


__all__ = ["check_kind", "check_sizes"]


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
        raise NetworkError(f"{name} must be a {kind.__name__}, not {value!r}")
