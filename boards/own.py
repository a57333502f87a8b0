"""Boards of users: a class in a Python file of their own."""

import importlib.util
import re
from pathlib import Path

from amaranth.build import Platform, ResourceError

from xnorflow.boards.platforms import through_himbaechel
from xnorflow.boards.target import Target
from xnorflow.errors import DesignError
from xnorflow.hw.families import find_device


__all__ = ["is_own_board", "load_board"]


def is_own_board(name: str) -> bool:
    """Whether a board's name is that of a class in a file, ``my_board.py:MyBoard``."""
    return ".py" in name


def load_board(name: str) -> Target:
    """Load a board from ``my_board.py:MyBoard``; docs/boards.md says what such a class has.

    Raises
    ------
    DesignError
        If the file cannot be read or run, or the class is not one of a board.
    """
    path, _, class_name = name.rpartition(":")
    if not path.endswith(".py") or not class_name.isidentifier():
        raise DesignError(f"a board of your own is called my_board.py:MyBoard, not {name!r}")
    platform_class = through_himbaechel(_load_class(Path(path), class_name))
    _check(platform_class, name)
    part = getattr(platform_class, "part", None) or platform_class.device
    return Target(
        name=re.sub(r"\W+", "-", class_name).lower(),
        title=getattr(platform_class, "title", class_name),
        device=find_device(part),
        platform=platform_class,
        clock=int(getattr(platform_class, "clock", 0) or _frequency(platform_class)),
        busy_led=getattr(platform_class, "busy_led", None),
        refused_led=getattr(platform_class, "refused_led", None),
        loader=tuple(getattr(platform_class, "loader", ())),
        wiring=getattr(platform_class, "wiring", ""),
    )


def _load_class(path, class_name):
    if not path.is_file():
        raise DesignError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DesignError(f"{path} cannot be run: {type(error).__name__}: {error}") from None
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, Platform):
        raise DesignError(f"{path} has no platform of Amaranth that is called {class_name}")
    return found


def _check(platform_class, name):
    """Raise a DesignError unless the class has what a build asks it for."""
    try:
        platform = platform_class()
        platform.lookup(platform.default_clk)
        uart = platform.lookup("uart", 0)
        for led in ("busy_led", "refused_led"):
            if getattr(platform, led, None) is not None:
                platform.lookup(*getattr(platform, led))
    except ResourceError as error:
        raise DesignError(f"{name}: {error}") from None
    except Exception as error:
        raise DesignError(f"{name} cannot be made: {type(error).__name__}: {error}") from None
    pins = {signal.name for signal in uart.ios if hasattr(signal, "name")}
    if not {"rx", "tx"} <= pins:
        raise DesignError(f"{name}: its uart must have rx and tx")
    _frequency(platform_class)


def _frequency(platform_class):
    try:
        return platform_class().default_clk_frequency
    except AttributeError:
        raise DesignError(
            f"{platform_class.__name__} has no frequency: give Clock(...) to "
            f"{platform_class.default_clk!r}, its default_clk"
        ) from None
