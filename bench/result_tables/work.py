"""Trainings, sweeps, explorations, reports and loads: what work takes, and that nothing differs."""

from record import read_rows
from result_tables.table import Table, section


__all__ = ["REPORTS", "SWEEP", "TRAINING", "cost_of_loading", "front", "swaps", "two_workers"]

TRAINING = Table(
    "training",
    "Processor seconds of an epoch on one core, beside those of an earlier revision, both with the "
    "options of `zoo/make.py`, `python bench/training.py`.",
    {
        "network": "{network}",
        "earlier revision": "`{revision}`",
        "before": "{epoch_before}",
        "now": "{epoch}",
        "times as fast": "{times_as_fast:.2f}",
    },
)
SWEEP = Table(
    "sweep",
    "Eight small trainings by one worker and by two, `python bench/sweep.py`: wall time.",
    {
        "model": "{network}",
        "runs": "{runs}",
        "results that differ": "{differing_results}",
        "seconds, one worker": "{seconds_by_1:g}",
        "two workers": "{seconds_by_2:g}",
        "times as fast": "{times_as_fast:.2f}",
    },
)
REPORTS = Table(
    "reports",
    "Reports, `python bench/reports.py`: processor seconds from the finished design or build to "
    "the page, its size, and errors in Chromium's console at 1,280 and 420 pixels.",
    {
        "network": "{network}",
        "floor plan": lambda row: "yes" if row["floor_plan"] else "not built",
        "seconds": "{seconds:.1f}",
        "MB": "{megabytes:.2f}",
        "errors": "{console_errors}",
    },
)


def swaps() -> str:
    """Networks that are loaded one after the other."""
    rows = [
        [
            row["network"],
            f"{row['images']:,}",
            str(row["scores that differ"]),
            f"{row['accuracy']:.2%}",
            str(row["loads that were repeated"]),
            str(row["frames that were repeated"]),
        ]
        for row in read_rows("loading")
        if "images" in row
    ]
    return section(
        "Networks loaded one after the other into the same accelerator on the virtual board, over "
        "a line with faults, `python bench/loading.py swap`.",
        ["network", "images", "scores that differ", "accuracy", "loads repeated",
         "frames repeated"],
        rows,
    )  # fmt: skip


def cost_of_loading() -> str:
    """Look-up tables of weights that are fixed, and of such that are loaded."""
    rows = [
        [
            row["network"],
            row["device"],
            "{:,}, {}".format(*row["fixed"]),
            "{:,}, {}".format(*row["runtime"]),
            f"{row['more look-up tables']:+.1%}",
        ]
        for row in read_rows("loading")
        if "fixed" in row
    ]
    return section(
        "Look-up tables and block RAMs of the same foldings, with the link, `python "
        "bench/loading.py luts`.",
        ["network", "device", "fixed weights", "loaded weights", "look-up tables"],
        rows,
    )


def front() -> str:
    """Designs of whole fronts, as estimated and as placed."""
    rows = [
        [
            row["network"],
            row["board"],
            f"{each['cycles_per_frame']:,}",
            "{:,} / {:,}".format(*each["luts"]),
            f"{each['luts'][0] / each['luts'][1] - 1:+.0%}",
            "{} / {}".format(*each["block_rams"]),
            f"{each['fmax_mhz']:.1f} MHz",
            f"{each['frames_per_second']:,}",
        ]
        for row in read_rows("explore")
        for each in row["placed"]
    ]
    return section(
        "All designs that `xnorflow explore` places between the fastest and the smallest, "
        "`python bench/explore.py`, with the link, seed 1: estimated / as placed, and routed.",
        ["network", "board", "cycles a frame", "LUTs", "estimate", "block RAMs", "highest clock",
         "frames/s"],
        rows,
    )  # fmt: skip


def two_workers() -> str:
    """Two workers beside one."""
    rows = [
        [
            row["network"],
            what,
            "{} → {}".format(*row[f"{key}_seconds"]),
            f"{row[f'{key}_times_as_fast']:.2f}",
        ]
        for row in read_rows("explore")
        for what, key in (
            (f"{row['points']} designs placed and routed", "explore"),
            (f"{row.get('frames', 0):,} frames simulated", "simulate"),
        )
        if f"{key}_seconds" in row
    ]
    return section(
        "The same by two workers instead of one, with equal results, `python bench/explore.py`: "
        "seconds of wall time on two cores.",
        ["network", "work", "seconds", "times as fast"],
        rows,
    )
