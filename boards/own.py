"""Boards of users: a class in a Python file of their own."""

import importlib.util
from pathlib import Path

from amaranth.build import Platform, ResourceError

from xnorflow.boards.platforms import through_himbaechel
from xnorflow.boards.target import Target
from xnorflow.errors import DesignError
from xnorflow.hw.families import find_device


__all__ = ["is_own_board", "load_board"]


def is_own_board(name: str) -> bool:
    """Whether a board's name is that of a class in a file, ``my_board.py:MyBoard``."""
    return name.partition(":")[0].endswith(".py") or name.rpartition(":")[0].endswith(".py")


def load_board(name: str) -> Target:
    """Load a board from ``my_board.py:MyBoard``: see docs/how-to/own-board.md.

    Raises
    ------
    DesignError
        If the file cannot be read or run, or the class is not one of a board.
    """
    path, _, class_name = name.rpartition(":")
    if not path.endswith(".py") or not class_name.isidentifier():
        raise DesignError(f"a board of your own is called my_board.py:MyBoard, not {name!r}")
    platform_class = through_himbaechel(_load_class(Path(path), class_name))
    platform = _make(platform_class, name)
    return Target(
        name=class_name.lower(),
        title=getattr(platform, "title", class_name),
        device=find_device(getattr(platform, "part", None) or platform.device),
        platform=platform_class,
        clock=int(getattr(platform, "clock", platform.default_clk_frequency)),
        busy_led=getattr(platform, "busy_led", None),
        refused_led=getattr(platform, "refused_led", None),
        loader=tuple(getattr(platform, "loader", ())),
        wiring=getattr(platform, "wiring", ""),
    )


def _load_class(path, class_name):
    if not path.is_file():
        raise DesignError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise DesignError(f"{path} cannot be run: {type(error).__name__}: {error}") from None
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, Platform):
        raise DesignError(f"{path} has no platform of Amaranth called {class_name}")
    lacking = sorted(getattr(found, "__abstractmethods__", ()))
    if lacking:
        raise DesignError(f"{path}:{class_name} lacks {' and '.join(lacking)}")
    return found


def _make(platform_class, name):
    """Platform of a class, in which all is there that a build asks for."""
    try:
        platform = platform_class()
        clock = platform.lookup(platform.default_clk).clock
        uart = platform.lookup("uart", 0)
        for led in ("busy_led", "refused_led"):
            if getattr(platform, led, None) is not None:
                platform.lookup(*getattr(platform, led))
    except ResourceError as error:
        raise DesignError(f"{name}: {error}") from None
    except Exception as error:
        raise DesignError(f"{name} cannot be made: {type(error).__name__}: {error}") from None
    if clock is None:
        raise DesignError(f"{name}: its default_clk has no frequency: give it a Clock(...)")
    if not {"rx", "tx"} <= {getattr(line, "name", "") for line in uart.ios}:
        raise DesignError(f"{name}: its uart must have rx and tx")
    return platform
