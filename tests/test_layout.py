"""Imports run one way: network ← sw, hw ← sim, boards ← cli."""

import ast
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
BASE = {
    "xnorflow.cache",
    "xnorflow.errors",
    "xnorflow.files",
    "xnorflow.frames",
    "xnorflow.network",
    "xnorflow.checks",
    "xnorflow.nodes",
    "xnorflow.stream_nodes",
    "xnorflow.values",
    "xnorflow.xnf",
}

# What each room may import of the project, besides itself.
ALLOWED = {
    "sw": {"xnorflow.sw"},
    "hw": {"xnorflow.hw"},
    "sim": {"xnorflow.sim", "xnorflow.hw", "xnorflow.sw"},
    "boards": {"xnorflow.boards", "xnorflow.hw"},
}
FORBIDDEN = {"sw": {"amaranth", "cocotb"}, "hw": {"torch", "lightning", "cocotb"}}


def imports(path):
    """Dotted names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_one_way(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            top, *rest = name.split(".")
            assert top not in FORBIDDEN.get(room, ()), f"{path} imports {name}"
            if top == "xnorflow" and rest:
                prefixes = {".".join(["xnorflow", *rest[: n + 1]]) for n in range(len(rest))}
                known = prefixes & (ALLOWED[room] | BASE) or name == "xnorflow.__version__"
                assert known, f"{path} imports {name}"


def test_the_contract_stands_alone():
    for module in BASE:
        path = ROOT / "xnorflow" / f"{module.removeprefix('xnorflow.')}.py"
        ours = {name for name in imports(path) if name.startswith("xnorflow.")}
        assert all(any(name.startswith(base) for base in BASE) for name in ours), path
