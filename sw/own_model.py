"""Models of one's own, from a Python file."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from xnorflow.errors import DataError


__all__ = ["load_module"]


def load_module(text: str) -> nn.Module:
    """Make the module ``MyNet()`` of the file that ``my_model.py:MyNet`` names.

    Raises
    ------
    DataError
        If there is no such file or class, or if it cannot be made without arguments.
    """
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Modules beside it can be imported, as when the file itself is run.
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise DataError(f"{path} cannot be imported: {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    make: Any = getattr(module, name, None)
    if make is None:
        raise DataError(f"{path} has no {name}")
    made = make if isinstance(make, nn.Module) else _make(make, text)
    if not isinstance(made, nn.Module):
        raise DataError(f"{text} makes no torch.nn.Module, but a {type(made).__name__}")
    return made


def _make(make: Callable[[], Any], text: str) -> Any:
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise DataError(
            f"{text} cannot be made without arguments ({error}): give them defaults, or name a "
            "function that makes it"
        ) from None
    try:
        return make()
    except Exception as error:
        raise DataError(f"{text}() fails: {type(error).__name__}: {error}") from None
