"""Speed of the golden model, of simulations, and of the generator."""

from typing import Any

from record import read_rows
from result_tables.table import Table, section


__all__ = ["BIT_PRODUCTS", "GOLDEN", "SIMULATION", "generation"]

GOLDEN = Table(
    "golden",
    "Images that the golden model executes in a second, beside those of an earlier revision, "
    "`python bench/golden.py`: medians, and that of the ratios, on cores that are idle or each "
    "busy with another process; `eval` is the whole command on 10,000 images, on busy cores on "
    "200.",
    {
        "network": "{network}",
        "": "{what}",
        "cores": "{cores}",
        "before": "{before:,.0f}",
        "now": "{now:,.0f}",
        "ratio": "{ratio:.1f}",
    },
)
BIT_PRODUCTS = Table(
    "bit_products",
    "The same on one core, by each kind of product of bits, `python bench/bit_products.py`: images "
    "in a second of processor time. A machine takes the kind in which it is fastest.",
    {
        "network": "{network}",
        "bytes": "{bytes:,.0f}",
        "float32": "{float32:,.0f}",
        "packed bits": "{packed:,.0f}",
    },
)
SIMULATION = Table(
    "simulation",
    "Frames that the Verilated RTL simulates in a second of processor time of one process, "
    "and twice those of each of two at once, `python bench/simulation.py`: at an earlier revision, "
    "now with popcounts as they are built, and with popcounts in behavioural form.",
    {
        "network": "{network}",
        "before": "{before_a_core:,.0f}, {before_two_cores:,.0f}",
        "as built": "{now_a_core:,.0f}, {now_two_cores:,.0f}",
        "behavioural": "{behavioural_a_core:,.0f}, {behavioural_two_cores:,.0f}",
    },
)


def generation() -> str:
    """Size of Verilog, and time to write and to read it."""

    def change(row: dict[str, Any], what: str) -> str:
        before, now = (
            "> 120" if row[when][what] is None else f"{row[when][what]:g}"
            for when in ("before", "now")
        )
        return f"{before} → {now}"

    rows = sorted(read_rows("generation"), key=lambda row: row["weights"])
    return section(
        "Verilog of larger and larger networks, before and now, `python bench/generation.py`: its "
        "size, processor time to write it, and Yosys' to read it, at most two minutes.",
        ["network", "weights", "layers", "MB", "s to write", "s to read"],
        [
            [
                row["network"],
                f"{row['weights']:,}",
                str(row["layers"]),
                *(change(row, what) for what in ("megabytes", "seconds", "reading_seconds")),
            ]
            for row in rows
        ],
    )
