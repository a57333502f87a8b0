"""Thresholds that follow from the frame."""

from record import read_rows
from result_tables.table import ROOT, Row, Table, section

from xnorflow.ir.xnf import load


__all__ = ["BARRIERS", "MUTANTS", "SMALLEST", "twins"]

MUTANTS = Table(
    "mutants",
    "Faults that were put into it, each with the test that is run on it, "
    "`python bench/mutants.py`.",
    {
        "fault": "{mutant}",
        "file": "[{file}](../../{file})",
        "test": "`{test}`",
        "": lambda row: "caught" if row["caught"] else "missed",
    },
)
BARRIERS = Table(
    "barriers",
    "Block RAMs of an ECP5-85F, which has 208, by the estimates: all, those of frames that "
    "wait, and how much more than a frame the buffers hold, `python bench/barriers.py`.",
    {
        "network": "{network}",
        "method": "{method}",
        "cycles a frame": "{cycles_per_frame:,}",
        "block RAMs": "{block_rams}",
        "of frames": lambda row: row["block_rams_of_frames"] or "",
        "beyond a frame": lambda row: _range(row["words_beyond_a_frame"]),
    },
)
SMALLEST = Table(
    "smallest",
    "One unit of eight channels on an iCEBreaker, behind a first layer with stride 2, for 28 × "
    "28 pixels, placed and routed with the UART link, `python bench/smallest.py`.",
    {
        "method": "{network}",
        "LUTs": lambda row: _share(row, "lut"),
        "block RAMs": lambda row: _share(row, "block_ram"),
        "multipliers": lambda row: _share(row, "multiplier"),
        "cycles a frame": lambda row: row.get("cycles_per_frame", ""),
        "highest clock": lambda row: (
            f"{row['fmax_mhz']:.1f} MHz"
            if "fmax_mhz" in row
            # Of the sentence, what is too much.
            else f"refused: {row['refused'].split(': ')[1].split(';')[0]}"
        ),
    },
)


def _range(parts: list[float]) -> str:
    return f"{min(parts):.1%} to {max(parts):.1%}" if parts else ""


def _share(row: Row, cell: str) -> str:
    return "{:,} of {:,}".format(*row[cell]) if cell in row else ""


def twins() -> str:
    """Trained networks with dynamic thresholds, beside their static twins."""
    accuracies = {row["network"]: row["accuracy"] for row in read_rows("accuracy")}
    placed = {row["network"]: row for row in read_rows("place")}
    rows = []
    for name in ("fashion-small", "cifar10-resnet20"):
        for method in ("reactnet", "dybnn"):
            network = f"{name}-{method}"
            provenance = load(ROOT / "zoo" / f"{network}.xnf").provenance
            found = placed.get(network)
            rows.append([
                network,
                f"{provenance.epochs}, {provenance.recipe}",
                f"{accuracies[network]:.2%}",
                f"{found['lut'][0]:,}" if found else "",
                str(found["block_ram"][0]) if found else "",
                str(found["cycles_per_frame"]) if found else "",
            ])
    return section(
        "The networks of the zoo whose thresholds and shifts follow from the frame, beside their "
        "static twins: both trained from the same start, with the same recipe and seed; integers "
        "on all test images, `python bench/accuracy.py`; and on a ULX3S, `python bench/place.py`.",
        ["network", "epochs and recipe", "integers", "LUTs", "block RAMs", "cycles a frame"],
        rows,
    )
