"""JSON that a stranger may have written: parsed and checked without the liberties Python takes."""

import json
from collections.abc import Mapping
from typing import Any

from xnorflow.errors import FormatError


__all__ = ["check_fields", "parse_object", "quote"]

_QUOTE = 60


def parse_object(text: bytes | str) -> dict[str, Any]:
    """Parse a JSON object, without the liberties that Python takes."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise FormatError("its header is not valid JSON") from None
    if not isinstance(value, dict):
        raise FormatError("its header is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key repeats")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def check_fields(what: str, value: dict[str, Any], types: Mapping[str, type]) -> None:
    """Check that an object has exactly such fields; of type ``object`` is everything."""
    if value.keys() != types.keys():
        raise FormatError(f"{what} must have exactly the fields {', '.join(types)}")
    for name, kind in types.items():
        # A bool is no int here.
        if kind is not object and type(value[name]) is not kind:
            raise FormatError(f"{what} has a wrong {name}: {quote(value[name])}")


def quote(value: object) -> str:
    """Show ``value``, shortened and without control characters, because a stranger wrote it."""
    text = ascii(value)
    return text if len(text) <= _QUOTE else text[:_QUOTE] + "…"
