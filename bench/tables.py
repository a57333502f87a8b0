"""Write the README's results from bench/results, so that no figure is typed by hand.

python bench/tables.py
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from record import read_rows, read_versions

from xnorflow.ir.xnf import load


ROOT = Path(__file__).parent.parent


def main() -> None:
    """Replace what is between the marks."""
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Pages with results, as they should be."""
    sections = (
        accuracy(),
        golden(),
        imported(),
        lowering(),
        own_modules(),
        rtl(),
        icarus(),
        generation(),
        netlist(),
        place(),
        density(),
        estimates(),
        adabin(),
        dynamic(),
        popcount(),
    )
    contents = {
        ROOT / "README.md": sections,
        ROOT / "docs" / "qonnx.md": (conformance(), features(), importing(), low_bit()),
        ROOT / "docs" / "dynamic.md": (barriers(), twins(), dynamic(), smallest(), mutants()),
    }
    return {path: _filled(path, parts) for path, parts in contents.items()}


def _filled(path: Path, sections: Iterable[str]) -> str:
    """Page with the ``sections`` between its marks."""
    begin, end = "<!-- results -->", "<!-- /results -->"
    before, rest = path.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    content = "\n\n".join(section for section in sections if section)
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def accuracy() -> str:
    """Integer networks on whole test sets."""
    rows = [
        [
            row["network"],
            f"{row['accuracy']:.2%}",
            f"{row['float_accuracy']:.2%}",
            f"{row['bits_differing']} of {row['bits']:,}",
        ]
        for row in read_rows("accuracy")
    ]
    return _section(
        "Accuracy on all test images, `python bench/accuracy.py`. The next column counts "
        "binary activations, values of residual streams, and thresholds and shifts of frames, in "
        "which the integer network differs from PyTorch in float64: on the first 1,000 images of "
        "CIFAR-10, and on all of the other data sets. Where a network starts and for how "
        "many epochs it is trained is in its card in [`zoo/`](zoo).",
        ["network", "integers", "float64", "differ"],
        rows,
    )


def golden() -> str:
    """Speed of the golden model."""
    rows = [
        [
            row["network"],
            row["what"],
            row["cores"],
            f"{row['before']:,.0f}",
            f"{row['now']:,.0f}",
            f"{row['ratio']:.1f}",
        ]
        for row in read_rows("golden")
    ]
    return _section(
        "Images that the golden model executes in a second, beside those of an earlier revision, "
        "`python bench/golden.py`: medians, and that of the ratios, on cores that are idle or each "
        "busy with another process; `eval` is the whole command on 10,000 images, on busy cores on "
        "200.",
        ["network", "", "cores", "before", "now", "ratio"],
        rows,
    )


def imported() -> str:
    """AdaBin's released ResNet-20, before any training."""
    return _section(
        "AdaBin's ResNet-20 as its authors released it, on all 10,000 test images, in floating "
        "point and right after the import on three fixed-point grids, `python bench/imported.py`.",
        ["stream", "accuracy"],
        [[row["numbers"], f"{row['accuracy']:.2%}"] for row in read_rows("imported")],
    )


def own_modules() -> str:
    """Modules as users write them."""
    rows = [
        [row["network"], f"{row['frames']:,}", f"{row['differing']} of {row['values']:,}",
         f"{row['rtl_differing']}", f"{row['cycles']:,}"]
        for row in read_rows("own_modules")
    ]  # fmt: skip
    return _section(
        "Five modules as one writes them in PyTorch (`examples/modules.py`): activations and "
        "labels of the integers that differ from float64, and scores of the RTL that differ from "
        "the integers, on random images, `python bench/own_modules.py`.",
        ["module", "images", "integers differ", "RTL scores differ", "cycles a frame"],
        rows,
    )


def conformance() -> str:
    """Networks that Brevitas exports."""
    trips = {row["model"]: row for row in read_rows("conformance_round_trip")}
    rows = [
        [row["model"], f"{row['images']:,}", f"{row['differing']} of {row['values']:,}",
         f"{row['labels']}", f"{row['orders']}", _trip(trips.get(row["model"]))]
        for row in read_rows("conformance")
    ]  # fmt: skip
    return _section(
        "Brevitas' own networks, trained for a moment and exported, on the whole test sets of "
        "MNIST and CIFAR-10: activations, labels, and orders of the scores that differ from "
        "qonnx's execution in float32, `python bench/conformance.py`; and labels and scores that "
        "differ in what is exported and imported once more, on the first 1,000 images, 100 for "
        "CNV, `--round-trip`.",
        ["model", "images", "activations differ", "labels", "orders of scores", "round trip"],
        rows,
    )


def _trip(row: dict[str, Any] | None) -> str:
    return f"{row['labels']}, {row['scores']}" if row else "not measured"


def features() -> str:
    """Small networks with one feature each."""
    rows = [
        [row["model"], f"{row['images']:,}", f"{row['differing']} of {row['values']:,}",
         f"{row['labels']}", f"{row['scores']}", f"{row['trip_labels']}, {row['trip_scores']}"]
        for row in read_rows("features")
    ]  # fmt: skip
    return _section(
        "Small networks of Brevitas' layers, trained for a moment, with one feature each: "
        "activations, labels and scores (equal but for one factor, exactly) that differ from "
        "qonnx's execution; and labels and scores that differ in what is exported and imported "
        "once more, `python bench/features.py`.",
        ["feature", "images", "activations differ", "labels", "scores", "round trip"],
        rows,
    )


def importing() -> str:
    """Import of a large file."""
    rows = [
        [f"{row['bytes'] / 1e6:.1f} MB", f"{row['seconds']}", f"{row['megabytes']:,}",
         f"{row['megabytes_before']:,}"]
        for row in read_rows("importing")
    ]  # fmt: skip
    return _section(
        "The import of a perceptron with 32-bit latent weights, `python bench/importing.py`.",
        ["file", "seconds", "most memory, MB", "before the import, MB"],
        rows,
    )


def low_bit() -> str:
    """Layers with weights and activations of few bits."""
    measured = read_rows("low_bit")
    rows = [
        [f"{row['weights']}W{row['activations']}A", f"{row['luts']:,}", f"{row['luts'] / 1024:.2f}",
         f"{row['luts'] / measured[0]['luts']:.2f}", str(row["block_rams"])]
        for row in measured
    ]  # fmt: skip
    return _section(
        "A dense layer of 256 neurons and 256 synapses, folded to 32 PE and 32 SIMD, on an ECP5 "
        "after synthesis and packing, `python bench/low_bit.py`.",
        ["weights, activations", "LUTs", "a product and cycle", "times 1W1A", "block RAMs"],
        rows,
    )


def lowering() -> str:
    """Convolutional networks against PyTorch in float64."""
    rows = [
        [row["network"], row["method"], f"{row['images']:,}",
         f"{row['bits_differing']} of {row['bits']:,}"]
        for row in read_rows("lowering")
    ]  # fmt: skip
    return _section(
        "The same count for convolutional networks that were trained for a moment, on real images, "
        "`python bench/lowering.py`.",
        ["network", "method", "images", "differ"],
        rows,
    )


def rtl() -> str:
    """RTL against golden."""
    rows = [
        [
            row["network"],
            row["device"],
            f"{row['images']:,}",
            f"{row['scores_differing']} of {10 * row['images']:,}",
            f"{row['cycles_per_frame']} = {row['predicted_cycles_per_frame']}",
            # Where windows slide, the prediction is a lower bound.
            f"{row['latency']} {'=' if row['latency'] == row['predicted_latency'] else '≥'} "
            f"{row['predicted_latency']}",
            f"{row['simulation_seconds']:.0f} s",
        ]
        for row in read_rows("rtl")
    ]
    return _section(
        "The Verilated RTL on test images, of large networks the first ones (`--all` takes all), "
        "`python bench/rtl.py`: scores that differ from the golden model, simulated = predicted "
        "cycles (≥ where frames wait for their own thresholds, and the latency that is predicted "
        "is the least possible), time of the simulation.",
        ["network", "device", "images", "scores differ", "cycles a frame", "latency", "time"],
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


def netlist() -> str:
    """Netlists against golden."""
    rows = [
        [
            row["network"],
            row["device"],
            f"{row['look_up_tables']:,}",
            f"{row['images']:,}",
            f"{row['scores_differing']} of {row['scores']:,}",
        ]
        for row in read_rows("netlist")
    ]
    return _section(
        "What Yosys makes of the accelerators, simulated cell by cell on the first test images, "
        "`python bench/netlist.py`: scores that differ from the golden model.",
        ["network", "device", "look-up tables", "images", "scores differ"],
        rows,
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
    return _section(
        "Placed and routed with the UART link, `python bench/place.py`, seed 1: what nextpnr "
        "reports, and what the accelerator does at the highest clock: frames in a second, and the "
        "simulated latency from a frame's first word to its result. (The link itself carries about "
        f"118 frames of 28×28 bytes a second.) {tools}.",
        ["network", "board", "LUTs", "block RAMs", "multipliers", "cycles a frame", "clock",
         "highest", "frames/s", "latency"],
        rows,
    )  # fmt: skip


def density() -> str:
    """Look-up tables per multiply-accumulate."""
    rows = [
        [
            row["network"],
            row["device"],
            f"{row['luts']:,}",
            "{} of {}".format(*row["block_rams"]),
            "{} of {}".format(*row["multipliers"]),
            f"{row['macs_per_frame']:,}",
            f"{row['cycles_per_frame']:,}",
            f"{row['luts_per_mac']:.2f}",
        ]
        for row in read_rows("density")
    ]
    return _section(
        "FINN's CNV at full width, all of it: LUTs of the accelerator, counted after packing, over "
        "the multiply-accumulates that it does in a cycle, `python bench/density.py`.",
        ["network", "device", "LUTs", "block RAMs", "multipliers", "MACs a frame",
         "cycles a frame", "LUTs per MAC and cycle"],
        rows,
    )  # fmt: skip


def estimates() -> str:
    """Estimates beside synthesis."""
    rows = [
        [
            row["network"],
            f"{row['estimated'][0]:,} / {row['synthesised'][0]:,} ({row['error']:+.0%})",
            "{1} / ".format(*row["estimated"]) + "{1}".format(*row["synthesised"]),
            "{2} / ".format(*row["estimated"]) + "{2}".format(*row["synthesised"]),
        ]
        for row in read_rows("estimate")
    ]
    return _section(
        "What `xnorflow plan` estimates / what synthesis and packing find, without the link, "
        "`python bench/estimate.py`.",
        ["design", "LUTs", "block RAMs", "multipliers"],
        rows,
    )


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


def barriers() -> str:
    """Memory that dynamic thresholds cost."""
    rows = []
    for row in read_rows("barriers"):
        beyond = row["words_beyond_a_frame"]
        rows.append([
            row["network"],
            row["method"],
            f"{row['cycles_per_frame']:,}",
            str(row["block_rams"]),
            str(row["block_rams_of_frames"] or ""),
            f"{min(beyond):.1%} to {max(beyond):.1%}" if beyond else "",
        ])
    return _section(
        "Block RAMs of an ECP5-85F, which has 208, by the estimates: all, those of frames that "
        "wait, and how much more than a frame the buffers hold, `python bench/barriers.py`.",
        ["network", "method", "cycles a frame", "block RAMs", "of frames", "beyond a frame"],
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


def smallest() -> str:
    """Networks that an iCEBreaker has room for."""
    rows = [
        [
            row["network"],
            *(
                "{:,} of {:,}".format(*row[cell]) if cell in row else ""
                for cell in ("lut", "block_ram", "multiplier")
            ),
            str(row.get("cycles_per_frame", "")),
            (
                f"{row['fmax_mhz']:.1f} MHz"
                if "fmax_mhz" in row
                # Of the sentence, what is too much.
                else f"refused: {row['refused'].split(': ')[1].split(';')[0]}"
            ),
        ]
        for row in read_rows("smallest")
    ]
    return _section(
        "One unit of eight channels on an iCEBreaker, behind a first layer with stride 2, for 28 × "
        "28 pixels, placed and routed with the UART link, `python bench/smallest.py`.",
        ["method", "LUTs", "block RAMs", "multipliers", "cycles a frame", "highest clock"],
        rows,
    )


def mutants() -> str:
    """Which test catches which fault."""
    rows = [
        [
            row["mutant"],
            f"[{row['file']}](../{row['file']})",
            f"`{row['test']}`",
            "caught" if row["caught"] else "missed",
        ]
        for row in read_rows("mutants")
    ]
    return _section(
        "Faults that were put into it, each with the test that is run on it, "
        "`python bench/mutants.py`.",
        ["fault", "file", "test", ""],
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


def _section(caption: str, head: list[str], rows: Iterable[list[str]]) -> str:
    """Caption and table; nothing if there are no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    rule = f"|{'---|' * len(head)}"
    return "\n".join([caption, "", f"| {' | '.join(head)} |", rule, *lines])


if __name__ == "__main__":
    main()
