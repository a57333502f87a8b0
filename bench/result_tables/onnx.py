"""Networks that are imported from ONNX files, and layers of few bits."""

from record import read_rows
from result_tables.table import DIFFERING, Table


__all__ = ["CONFORMANCE", "CONFORMANCE_RTL", "FEATURES", "IMPORTING", "LOW_BIT", "LOW_BIT_CNV"]

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


def _round_trip(model: str) -> str:
    found = {row["model"]: row for row in read_rows("conformance_round_trip")}.get(model)
    return f"{found['labels']}, {found['scores']}" if found else "not measured"
