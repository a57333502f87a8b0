"""Resources and clocks: estimates, synthesis, place and route."""

from record import read_rows, read_versions
from result_tables.table import Table, section


__all__ = ["DENSITY", "ESTIMATES", "FOLD", "POWER", "boards", "place", "popcount"]

POWER = Table(
    "power",
    "What the core of an iCE40UP5K would draw at 1.2 V for an accelerator alone, `python "
    "bench/power.py`, by currents that [tinyVision.ai measured]"
    "(https://github.com/tinyvision-ai-inc/ice40_power): 86 µA of a blank device, 44 µA a MHz of "
    "the clock tree, 0.012 µA a MHz of a logic cell, and 0.44 µA a MHz of an output that changes "
    "in every cycle, glitches of a multiplier included. Changes are counted in the simulated "
    "netlist. The bounds are those of no change, and of cells that are all as busy as a "
    "multiplier's, 0.16 µA a MHz. Block RAMs, pins, oscillator and flash are not covered, since "
    "nobody measured them.",
    {
        "network": "{network}",
        "clock": "{clock_mhz:g} MHz",
        "logic cells": "{logic_cells:,}",
        "multipliers": "{multipliers}",
        "block RAMs, not covered": "{block_rams}",
        "changes a cycle": "{toggles:,.0f}",
        "power": "{counted_mw:.1f} mW",
        "bounds": "{low_mw:.1f} to {high_mw:.1f} mW",
        "frames/s": "{frames_per_second:,}",
        "energy a frame": "{microjoules_a_frame:.2f} µJ",
    },
)

DENSITY = Table(
    "density",
    "FINN's CNV at full width, all of it: LUTs of the accelerator, counted after packing, over "
    "the multiply-accumulates that it does in a cycle, `python bench/density.py`.",
    {
        "network": "{network}",
        "device": "{device}",
        "LUTs": "{luts:,}",
        "block RAMs": "{block_rams[0]} of {block_rams[1]}",
        "multipliers": "{multipliers[0]} of {multipliers[1]}",
        "MACs a frame": "{macs_per_frame:,}",
        "cycles a frame": "{cycles_per_frame:,}",
        "LUTs per MAC and cycle": "{luts_per_mac:.2f}",
    },
)
FOLD = Table(
    "fold",
    "The fewest cycles a frame that fit the board, with the link to the host, and the processor "
    "time to find them, `python bench/fold.py`: estimated resources.",
    {
        "network": "{network}",
        "board": "{board}",
        "cycles a frame": lambda row: (
            f"{row['cycles_per_frame']:,}" if row["fits"] else "none fits"
        ),
        "LUTs": lambda row: f"{row['luts']:,}" if row["fits"] else "",
        "block RAMs": lambda row: str(row["block_rams"]) if row["fits"] else "",
        "multipliers": lambda row: str(row["multipliers"]) if row["fits"] else "",
        "seconds": "{seconds:.1f}",
    },
)
ESTIMATES = Table(
    "estimate",
    "What `xnorflow plan` estimates / what synthesis and packing find, without the link, "
    "`python bench/estimate.py`.",
    {
        "design": "{network}",
        "LUTs": "{estimated[0]:,} / {synthesised[0]:,} ({error:+.0%})",
        "block RAMs": "{estimated[1]} / {synthesised[1]}",
        "multipliers": "{estimated[2]} / {synthesised[2]}",
    },
)


def place() -> str:
    """Bitstreams."""
    latencies = {row["network"]: row["latency"] for row in read_rows("rtl")}
    rows = [
        [
            row["network"],
            row["board"],
            "{:,} of {:,}".format(*row["lut"]),
            "{} of {}".format(*row["block_ram"]),
            "{} of {}".format(*row["multiplier"]),
            str(row["cycles_per_frame"]),
            f"{row['clock_mhz']:g} MHz",
            f"{row['fmax_mhz']:.1f} MHz",
            f"{row['frames_per_second']:,}",
            f"{latencies[row['network']] / row['fmax_mhz'] / 1e3:.2f} ms",
        ]
        for row in read_rows("place")
    ]
    tools = ", ".join(
        f"{name} {version}" for name, version in read_versions("place").items() if "yowasp" in name
    )
    return section(
        "Placed and routed with the UART link, `python bench/place.py`, seed 1: what nextpnr "
        "reports, and what the accelerator does at the highest clock: frames in a second, and the "
        "simulated latency from a frame's first word to its result. (The link itself carries about "
        f"118 frames of 28×28 bytes a second.) {tools}.",
        ["network", "board", "LUTs", "block RAMs", "multipliers", "cycles a frame", "clock",
         "highest", "frames/s", "latency"],
        rows,
    )  # fmt: skip


def boards() -> str:
    """Bitstreams for every board."""
    rows = [row for row in read_rows("boards") if "lut" in row]
    return section(
        "TFC for MNIST (a toy where it does not fit), placed and routed with the UART link by "
        "`python bench/boards.py`, seed 1: what nextpnr reports, and the minutes that a build took "
        "on a busy machine of two cores. The highest clocks of Gowin's are not to be trusted.",
        ["network and board", "device", "LUTs", "estimated", "block RAMs", "estimated", "clock",
         "highest", "frames/s", "minutes"],
        [
            [
                row["network"],
                row["device"],
                "{:,} of {:,}".format(*row["lut"]),
                f"{row['estimated'][0]:,} ({row['estimated'][0] / row['lut'][0] - 1:+.0%})",
                "{} of {}".format(*row["block_ram"]),
                str(row["estimated"][1]),
                f"{row['clock_mhz']:g} MHz",
                f"{row['fmax_mhz']:.1f} MHz",
                f"{row['frames_per_second']:,}",
                f"{row['seconds'] / 60:.1f}",
            ]
            for row in rows
        ],
    )  # fmt: skip


def popcount() -> str:
    """Popcounts beside plain sums, all widths of a family in a line."""
    measured = read_rows("popcount")
    widths = sorted({row["synapses"] for row in measured})
    lines: dict[tuple[str, str], dict[int, str]] = {}
    for row in measured:
        ours, plain = (
            min(luts for luts in row[side].values() if luts) / row["synapses"]
            for side in ("popcount", "plain")
        )
        line = lines.setdefault((row["family"], row["weights"]), {})
        line[row["synapses"]] = f"{ours:.2f} / {plain:.2f}"
    return section(
        "LUTs per synapse of a neuron of N synapses and its threshold, `bench/popcount.py`: "
        "`Popcount` / a plain sum, each with the best of Yosys' options. A LUT has four inputs, on "
        "7-series six. In every row of the file the first is at most the second.",
        ["family", "weights", *(f"N = {width}" for width in widths)],
        [[*key, *(line.get(width, "") for width in widths)] for key, line in lines.items()],
    )
