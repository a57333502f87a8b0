"""Write the tables of README.md and docs/ from bench/results, so that no figure is typed by hand.

python bench/tables.py
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from result_tables import barriers, headline, networks, onnx, peers, placed, rtl, speed, work
from result_tables.table import ROOT


Part = Callable[[], str] | str
"""A table, or a heading."""

PAGES: dict[str, tuple[Part, ...]] = {
    "README.md": (headline.headline,),
    "docs/results.md": (
        "## Accuracy and exactness",
        networks.ACCURACY, networks.IMPORTED, networks.LOWERING, networks.OWN_MODULES,
        networks.random_graphs, networks.adabin, networks.dynamic,
        "## RTL and netlists against the golden model",
        rtl.RTL, rtl.icarus, rtl.NETLIST,
        "## Place and route",
        placed.place, placed.DENSITY, placed.popcount,
        "## Folding and estimates",
        placed.FOLD, placed.ESTIMATES, work.front,
        "## Weights that load at run time",
        work.swaps, work.cost_of_loading,
        "## Power",
        placed.POWER,
        "## Speed of the software",
        speed.GOLDEN, speed.BIT_PRODUCTS, speed.SIMULATION, speed.generation,
        work.TRAINING, work.SWEEP, work.two_workers, work.REPORTS,
    ),
    "docs/comparison.md": (peers.PEERS, onnx.LOW_BIT_CNV),
    "docs/how-to/qonnx.md": (
        onnx.CONFORMANCE, onnx.CONFORMANCE_RTL, onnx.FEATURES, onnx.IMPORTING, onnx.LOW_BIT,
        onnx.LOW_BIT_CNV,
    ),
    "docs/reference/boards.md": (placed.boards,),
    "docs/explanation/dynamic.md": (
        barriers.BARRIERS, barriers.twins, networks.dynamic, barriers.SMALLEST, barriers.MUTANTS,
    ),
}  # fmt: skip


def main() -> None:
    """Replace what is between the marks."""
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Pages with results, as they should be."""
    return {ROOT / path: _filled(ROOT / path, parts) for path, parts in PAGES.items()}


def _filled(path: Path, parts: Iterable[Part]) -> str:
    """Page with the ``parts`` between its marks."""
    begin, end = "<!-- results -->", "<!-- /results -->"
    before, rest = path.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    texts = (part if isinstance(part, str) else part() for part in parts)
    content = "\n\n".join(filter(None, texts))
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


if __name__ == "__main__":
    main()
