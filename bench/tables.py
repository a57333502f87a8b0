"""Write the README's results from bench/results, so that no figure is typed by hand.

python bench/tables.py
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import read_rows, read_versions

from xnorflow.ir.xnf import load


ROOT = Path(__file__).parent.parent

Row = Mapping[str, Any]
Column = str | Callable[[Row], object]
"""A format of a row's values, or what makes a cell of them."""


@dataclass(frozen=True)
class Table:
    """Results of a bench, a row each.

    Attributes
    ----------
    bench : str
        Name of the file in bench/results.
    caption : str
    columns : mapping of str to Column
        By what stands above them.
    """

    bench: str
    caption: str
    columns: Mapping[str, Column]

    def __call__(self) -> str:
        """Caption and table; nothing if there are no results."""
        return _section(
            self.caption,
            list(self.columns),
            [[_cell(column, row) for column in self.columns.values()]
             for row in read_rows(self.bench)],
        )  # fmt: skip


def _cell(column: Column, row: Row) -> str:
    return column.format_map(row) if isinstance(column, str) else str(column(row))


def _section(caption: str, head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([caption, "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines])


def main() -> None:
    """Replace what is between the marks."""
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Pages with results, as they should be."""
    return {ROOT / path: _filled(ROOT / path, sections) for path, sections in PAGES.items()}


def _filled(path: Path, sections: Iterable[Callable[[], str]]) -> str:
    """Page with the ``sections`` between its marks."""
    begin, end = "<!-- results -->", "<!-- /results -->"
    before, rest = path.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    content = "\n\n".join(filter(None, (section() for section in sections)))
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


DIFFERING = "{differing} of {values:,}"

ACCURACY = Table(
    "accuracy",
    "Accuracy on all test images, `python bench/accuracy.py`. The next column counts "
    "binary activations, values of residual streams, and thresholds and shifts of frames, in "
    "which the integer network differs from PyTorch in float64: on the first 1,000 images of "
    "CIFAR-10, and on all of the other data sets. Where a network starts and for how "
    "many epochs it is trained is in its card in [`zoo/`](zoo).",
    {
        "network": "{network}",
        "integers": "{accuracy:.2%}",
        "float64": "{float_accuracy:.2%}",
        "differ": "{bits_differing} of {bits:,}",
    },
)
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
IMPORTED = Table(
    "imported",
    "AdaBin's ResNet-20 as its authors released it, on all 10,000 test images, in floating "
    "point and right after the import on three fixed-point grids, `python bench/imported.py`.",
    {"stream": "{numbers}", "accuracy": "{accuracy:.2%}"},
)
OWN_MODULES = Table(
    "own_modules",
    "Five modules as one writes them in PyTorch (`examples/modules.py`): activations and "
    "labels of the integers that differ from float64, and scores of the RTL that differ from "
    "the integers, on random images, `python bench/own_modules.py`.",
    {
        "module": "{network}",
        "images": "{frames:,}",
        "integers differ": DIFFERING,
        "RTL scores differ": "{rtl_differing}",
        "cycles a frame": "{cycles:,}",
    },
)
CONFORMANCE = Table(
    "conformance",
    "Brevitas' own networks, trained for a moment and exported, on the whole test sets of "
    "MNIST and CIFAR-10: activations, labels, and orders of the scores that differ from "
    "qonnx's execution in float32, `python bench/conformance.py`; and labels and scores that "
    "differ in what is exported and imported once more, on the first 1,000 images, 100 for "
    "CNV, `--round-trip`.",
    {
        "model": "{model}",
        "images": "{images:,}",
        "activations differ": DIFFERING,
        "labels": "{labels}",
        "orders of scores": "{orders}",
        "round trip": lambda row: _round_trip(row["model"]),
    },
)
CONFORMANCE_RTL = Table(
    "conformance_rtl",
    "The same networks folded for an ECP5-85F, the Verilated RTL against the integers on the first "
    "test images, `python bench/conformance.py --rtl`: images on which a score or the label "
    "differs, and simulated = predicted cycles.",
    {
        "model": "{model}",
        "images": "{images:,}",
        "scores": "{scores}",
        "labels": "{labels}",
        "cycles a frame": "{cycles:,} = {predicted:,}",
    },
)
FEATURES = Table(
    "features",
    "Small networks of Brevitas' layers, trained for a moment, with one feature each: "
    "activations, labels and scores (equal but for one factor, exactly) that differ from "
    "qonnx's execution; and labels and scores that differ in what is exported and imported "
    "once more, `python bench/features.py`.",
    {
        "feature": "{model}",
        "images": "{images:,}",
        "activations differ": DIFFERING,
        "labels": "{labels}",
        "scores": "{scores}",
        "round trip": "{trip_labels}, {trip_scores}",
    },
)
IMPORTING = Table(
    "importing",
    "The import of a perceptron with 32-bit latent weights, `python bench/importing.py`.",
    {
        "file": lambda row: f"{row['bytes'] / 1e6:.1f} MB",
        "seconds": "{seconds}",
        "most memory, MB": "{megabytes:,}",
        "before the import, MB": "{megabytes_before:,}",
    },
)
LOW_BIT = Table(
    "low_bit",
    "A dense layer of 256 neurons and 256 synapses, folded to 32 PE and 32 SIMD, on an ECP5 "
    "after synthesis and packing, `python bench/low_bit.py`.",
    {
        "weights, activations": "{weights}W{activations}A",
        "LUTs": "{luts:,}",
        "a product and cycle": lambda row: f"{row['luts'] / 1024:.2f}",
        "times 1W1A": lambda row: f"{row['luts'] / read_rows('low_bit')[0]['luts']:.2f}",
        "block RAMs": "{block_rams}",
    },
)
LOW_BIT_CNV = Table(
    "low_bit_cnv",
    "Brevitas' CNV with activations of 2 bits, placed and routed on a ULX3S with the UART link, "
    "`python bench/low_bit_cnv.py`, beside what BNN-PYNQ's README says of a Zynq 7020, whose LUTs "
    "have six inputs.",
    {
        "network": "{network}",
        "LUTs": "{lut[0]:,} of {lut[1]:,}",
        "block RAMs": "{block_ram[0]} of {block_ram[1]}",
        "multipliers": "{multiplier[0]} of {multiplier[1]}",
        "cycles a frame": "{cycles_per_frame:,}",
        "highest clock": "{fmax_mhz:.1f} MHz",
        "frames/s": "{frames_per_second:,}",
        "BNN-PYNQ's LUT6s": "{peer_luts:,}",
        "BNN-PYNQ's frames/s": "{peer_frames_per_second:,}",
    },
)
LOWERING = Table(
    "lowering",
    "The same count for convolutional networks that were trained for a moment, on real images, "
    "`python bench/lowering.py`.",
    {
        "network": "{network}",
        "method": "{method}",
        "images": "{images:,}",
        "differ": "{bits_differing} of {bits:,}",
    },
)
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
MUTANTS = Table(
    "mutants",
    "Faults that were put into it, each with the test that is run on it, "
    "`python bench/mutants.py`.",
    {
        "fault": "{mutant}",
        "file": "[{file}](../{file})",
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


def _scores(row: Row) -> int:
    """Scores of the images of a network."""
    network = load(ROOT / "zoo" / f"{row['network']}.xnf")
    return int(row["images"] * network.maps[network.scores].channels)


def _round_trip(model: str) -> str:
    found = {row["model"]: row for row in read_rows("conformance_round_trip")}.get(model)
    return f"{found['labels']}, {found['scores']}" if found else "not measured"


def _range(parts: list[float]) -> str:
    return f"{min(parts):.1%} to {max(parts):.1%}" if parts else ""


def _share(row: Row, cell: str) -> str:
    return "{:,} of {:,}".format(*row[cell]) if cell in row else ""


def random_graphs() -> str:
    """Random models of all layers."""
    rows = []
    for rtl, pair in ((False, "float64 = integers"), (True, "integers = RTL")):
        measured = [row for row in read_rows("random_graphs") if row["rtl"] == rtl]
        models, refused, frames, values, differing = (
            sum(row[key] for row in measured)
            for key in ("models", "refused", "frames", "values", "differing")
        )
        if models:
            rows.append([
                pair, f"{models - refused}", f"{refused}", f"{frames:,}",
                f"{differing} of {values:,}",
            ])  # fmt: skip
    return _section(
        "Random models of all layers, on a fixed-point grid and without one: activations and order "
        "of the scores that differ from float64, and scores of the Verilated RTL that differ, with "
        "stalls, from the integers, `python bench/random_graphs.py`.",
        ["", "models", "refused", "frames", "differ"],
        rows,
    )


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
    return _section(
        "Generated Verilog in Icarus, by the plain cocotb bench of "
        "[`examples/`](examples/cocotb_bench.py), `python bench/icarus.py`: language levels at "
        "which every score of the first test images is the golden model's, from power-on without a "
        "reset, and from undefined registers with a reset of one cycle.",
        ["network", "images", "from power-on", "from undefined, one cycle of reset"],
        rows,
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
    return _section(
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


def boards() -> str:
    """Bitstreams for every board."""
    rows = [row for row in read_rows("boards") if "lut" in row]
    return _section(
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
    return _section(
        "Placed and routed with the UART link, `python bench/place.py`, seed 1: what nextpnr "
        "reports, and what the accelerator does at the highest clock: frames in a second, and the "
        "simulated latency from a frame's first word to its result. (The link itself carries about "
        f"118 frames of 28×28 bytes a second.) {tools}.",
        ["network", "board", "LUTs", "block RAMs", "multipliers", "cycles a frame", "clock",
         "highest", "frames/s", "latency"],
        rows,
    )  # fmt: skip


def adabin() -> str:
    """AdaBin beside plain signs."""
    return _match("adabin_vs_sign", "AdaBin against plain signs, TFC on MNIST")


def dynamic() -> str:
    """Dynamic thresholds beside static ones."""
    return _match(
        "dynamic_vs_static",
        "DyBNN's dynamic thresholds and shifts against ReActNet's static ones, ResNet-8 on "
        "Fashion-MNIST",
    )


def _match(name: str, caption: str) -> str:
    """Two methods with the same seeds."""
    measured = read_rows(name)
    if not measured:
        return ""
    epochs, seeds = measured[0]["epochs"], ", ".join(map(str, measured[0]["seeds"]))
    rows = [
        [
            row["method"],
            f"{row['mean']:.2%}",
            f"{row['deviation']:.2%}",
            ", ".join(f"{accuracy:.2%}" for accuracy in row["accuracies"]),
        ]
        for row in measured
    ]
    return _section(
        f"{caption}, {epochs} epochs, `python bench/seeds.py {name}`.",
        ["method", "mean", "deviation", f"seeds {seeds}"],
        rows,
    )


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
    return _section(
        "The networks of the zoo whose thresholds and shifts follow from the frame, beside their "
        "static twins: both trained from the same start, with the same recipe and seed; integers "
        "on all test images, `python bench/accuracy.py`; and on a ULX3S, `python bench/place.py`.",
        ["network", "epochs and recipe", "integers", "LUTs", "block RAMs", "cycles a frame"],
        rows,
    )


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
    return _section(
        "LUTs per synapse of a neuron of N synapses and its threshold, `bench/popcount.py`: "
        "`Popcount` / a plain sum, each with the best of Yosys' options. A LUT has four inputs, on "
        "7-series six. In every row of the file the first is at most the second.",
        ["family", "weights", *(f"N = {width}" for width in widths)],
        [[*key, *(line.get(width, "") for width in widths)] for key, line in lines.items()],
    )


PAGES = {
    "README.md": (
        ACCURACY, GOLDEN, BIT_PRODUCTS, IMPORTED, LOWERING, OWN_MODULES, random_graphs, RTL,
        SIMULATION, icarus, generation, NETLIST, place, DENSITY, FOLD, ESTIMATES, adabin, dynamic,
        popcount,
    ),
    "docs/qonnx.md": (CONFORMANCE, CONFORMANCE_RTL, FEATURES, IMPORTING, LOW_BIT, LOW_BIT_CNV),
    "docs/boards.md": (boards,),
    "docs/dynamic.md": (BARRIERS, twins, dynamic, SMALLEST, MUTANTS),
}  # fmt: skip


if __name__ == "__main__":
    main()
