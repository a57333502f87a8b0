"""Imports run one way: ir ← sw, hw ← sim, boards ← cli; and in hw from floor to floor."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
ROOMS = (["sw"], ["hw"], ["sim"], ["boards"])
BASE = {
    "xnorflow.arrays",
    "xnorflow.cache",
    "xnorflow.errors",
    "xnorflow.files",
    "xnorflow.frames",
    "xnorflow.ir",
    "xnorflow.parallel",
    "xnorflow.scores",
}

# What each room may import of the project, besides itself.
ALLOWED = {
    "sw": {"xnorflow.sw"},
    "hw": {"xnorflow.hw"},
    "sim": {"xnorflow.sim", "xnorflow.hw", "xnorflow.sw"},
    "boards": {"xnorflow.boards", "xnorflow.hw"},
}
FLOORS = ("families", "arithmetic", "streams", "ops", "compile")
"""Folders of hw: each may import those before it."""
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
    base = [
        ROOT / "xnorflow" / f"{name}.py"
        for name in ("arrays", "cache", "errors", "files", "frames", "parallel", "scores")
    ]
    for path in [*base, *(ROOT / "xnorflow" / "ir").rglob("*.py")]:
        ours = {name for name in imports(path) if name.startswith("xnorflow.")}
        assert all(any(name.startswith(base) for base in BASE) for name in ours), path


def modules_of(path):
    """Our modules that a file imports."""
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "xnorflow":
            relative = ROOT.joinpath(*parts[1 if parts[1:2] in ROOMS else 0 :])
            if relative.with_suffix(".py").exists():
                yield relative.with_suffix(".py")
            elif (relative / "__init__.py").exists():
                yield relative / "__init__.py"


@pytest.mark.parametrize("floor", FLOORS)
def test_floors_of_hw_import_one_way(floor):
    below = FLOORS[: FLOORS.index(floor) + 1]
    files = sorted((ROOT / "hw" / floor).rglob("*.py"))
    assert files
    for path in files:
        for module in modules_of(path):
            if module.is_relative_to(ROOT / "hw"):
                assert module.relative_to(ROOT / "hw").parts[0] in below, f"{path} imports {module}"


def test_hw_has_no_other_floors():
    found = {path.relative_to(ROOT / "hw").parts[0] for path in (ROOT / "hw").rglob("*.py")}
    assert found == {"__init__.py", *FLOORS}


def test_no_import_circles():
    """Not even by imports that run later."""
    files = sorted(path for room in ("hw", "xnorflow/ir") for path in (ROOT / room).rglob("*.py"))
    # Raises a CycleError that names the modules.
    TopologicalSorter({path: set(modules_of(path)) - {path} for path in files}).prepare()
