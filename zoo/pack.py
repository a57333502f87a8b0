"""Packing: all that the queue needs on a machine without a network.

There it needs PyTorch, numpy and Lightning, and nothing else is installed:

    for part in part*.zip; do python -m zipfile -e $part run; done
    sh run/queue.sh --minutes 9 --accelerator gpu
"""

import importlib.util
import zipfile
from collections.abc import Iterator
from pathlib import Path

from entries import ZOO

from xnorflow.errors import DataError
from xnorflow.files import make_folder
from xnorflow.sw.data import Dataset
from xnorflow.sw.data.published import cache_folder


__all__ = ["PART", "pack"]

PART = 60 << 20
"""Most bytes of a part."""

_ROOT = ZOO.parent
_PACKAGES = "safetensors", "rich", "markdown_it", "mdurl", "pygments", "platformdirs"
_START = b"""#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here:$here/site" XNORFLOW_DATA="$here/data"
adabin="$here/adabin.th"
[ -e "$adabin" ] && set -- "$@" --adabin "$adabin"
exec python "$here/zoo/make.py" --queue --state "$here/state" "$@"
"""


def pack(folder: Path, adabin: Path | None = None, *, largest: int = PART) -> list[Path]:
    """Write parts of at most ``largest`` bytes to ``folder``, and return their paths."""
    make_folder(folder)
    for old in folder.glob("part*.zip"):
        old.unlink()
    parts: list[Path] = []
    names: list[tuple[str, bytes]] = [("queue.sh", _START)]
    size = len(_START)
    for name, path in _files(adabin):
        content = path.read_bytes()
        cost = len(content) + 2 * len(name) + 256
        if cost + 256 > largest:
            raise DataError(f"{path} has {len(content)} bytes, more than a part of {largest}")
        if size + cost > largest - 1024:
            parts.append(_write(folder, len(parts), names))
            names, size = [], 0
        names.append((name, content))
        size += cost
    return [*parts, _write(folder, len(parts), names)]


def _files(adabin: Path | None) -> Iterator[tuple[str, Path]]:
    """Files of a run, and their names in it."""
    for top in ("xnorflow", "sw", "zoo"):
        inside = f"xnorflow/{top}" if top == "sw" else top
        for path in sorted((_ROOT / top).rglob("*")):
            relative = path.relative_to(_ROOT / top)
            if path.is_file() and "__pycache__" not in relative.parts and not _linked(path, top):
                yield f"{inside}/{relative}", path
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise DataError(f"the package {package} is not installed")
        home = Path(spec.origin).parent
        for path in sorted(home.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"site/{package}/{path.relative_to(home)}", path
    data = cache_folder() / Dataset.CIFAR10.value
    if not data.is_dir():
        raise DataError("CIFAR-10 is missing: run `xnorflow data fetch cifar10`")
    for path in sorted(data.glob("*.bin")):
        yield f"data/{data.name}/{path.name}", path
    if adabin is not None:
        yield "adabin.th", adabin


def _linked(path: Path, top: str) -> bool:
    """Whether a file lies in a linked folder, which is packed by itself or not needed."""
    return any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(_ROOT / top))


def _write(folder: Path, number: int, files: list[tuple[str, bytes]]) -> Path:
    path = folder / f"part{number + 1}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as part:
        for name, content in files:
            part.writestr(name, content)
    return path
