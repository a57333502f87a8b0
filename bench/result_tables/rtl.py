"""RTL and netlists against the golden model."""

from record import read_rows
from result_tables.table import ROOT, Row, Table, section

from xnorflow.ir.xnf import load


__all__ = ["NETLIST", "RTL", "icarus"]

RTL = Table(
    "rtl",
    "The Verilated RTL on test images, of large networks the first ones (`--all` takes all), "
    "`python bench/rtl.py`: scores that differ from the golden model, simulated = predicted "
    "cycles (≥ where frames wait for their own thresholds, and the latency that is predicted "
    "is the least possible), time of the simulation.",
    {
        "network": "{network}",
        "device": "{device}",
        "images": "{images:,}",
        "scores differ": lambda row: f"{row['scores_differing']} of {_scores(row):,}",
        "cycles a frame": "{cycles_per_frame} = {predicted_cycles_per_frame}",
        # Where windows slide, the prediction is a lower bound.
        "latency": lambda row: (
            f"{row['latency']} {'=' if row['latency'] == row['predicted_latency'] else '≥'} "
            f"{row['predicted_latency']}"
        ),
        "time": "{simulation_seconds:.0f} s",
    },
)
NETLIST = Table(
    "netlist",
    "What Yosys makes of the accelerators, simulated cell by cell on the first test images, "
    "`python bench/netlist.py`: scores that differ from the golden model.",
    {
        "network": "{network}",
        "device": "{device}",
        "look-up tables": "{look_up_tables:,}",
        "images": "{images:,}",
        "scores differ": "{scores_differing} of {scores:,}",
    },
)


def _scores(row: Row) -> int:
    """Scores of the images of a network."""
    network = load(ROOT / "zoo" / f"{row['network']}.xnf")
    return int(row["images"] * network.maps[network.scores].channels)


def icarus() -> str:
    """Verilog in somebody else's simulator."""
    rows = []
    for row in read_rows("icarus"):
        starts = [start.split(", ") for start, equal in row["equal"].items() if equal]
        levels = [
            ", ".join(level for level, start in starts if start == wanted) or "none"
            for wanted in ("power-on", "reset")
        ]
        rows.append([row["network"], str(row["images"]), *levels])
    return section(
        "Generated Verilog in Icarus, by the plain cocotb bench of "
        "[`examples/`](../examples/cocotb_bench.py), `python bench/icarus.py`: language levels at "
        "which every score of the first test images is the golden model's, from power-on without a "
        "reset, and from undefined registers with a reset of one cycle.",
        ["network", "images", "from power-on", "from undefined, one cycle of reset"],
        rows,
    )
