"""The same layers by other generators."""

from result_tables.table import Table


__all__ = ["UNROLLED"]

UNROLLED = Table(
    "unrolled",
    "A dense layer of constant weights ±1 with thresholds, a vector a cycle, on an ECP5: xnorflow "
    "/ da4ml, through the same Yosys and nextpnr, `python bench/unrolled.py`. Both were simulated "
    "bit for bit.",
    {
        "layer": "{network}",
        "da4ml": "{da4ml[version]}",
        "cells": "{cells:,} / {da4ml[cells]:,}",
        "flip-flops": "{flip_flops:,} / {da4ml[flip_flops]:,}",
        "cycles of latency": "{latency} / {da4ml[latency]}",
        "highest clock": "{fmax_mhz:.0f} / {da4ml[fmax_mhz]:.0f} MHz",
        "s to generate": "{seconds:.1f} / {da4ml[seconds]:.1f}",
        "bits that differ": "{wrong_bits} / {da4ml[wrong_bits]}",
    },
)
