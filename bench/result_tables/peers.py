"""The same layers by other generators."""

from result_tables.table import Table


__all__ = ["PEERS"]

PEERS = Table(
    "peers",
    "A dense layer of constant weights ±1 with thresholds, a vector a cycle, on an ECP5, through "
    "the same Yosys and nextpnr with the same seed, each generator in an environment of its own, "
    "`python bench/peers.py`. All were simulated bit for bit. Those that only make hardware of "
    "networks trained for them (dwn2rtl, torchlogix) cannot be given this layer.",
    {
        "layer": "{layer}",
        "by": "{generator} {version}",
        "cells": "{cells:,}",
        "flip-flops": "{flip_flops:,}",
        "cycles of latency": "{latency}",
        "highest clock": "{fmax_mhz:.0f} MHz",
        "s to generate": "{seconds:.1f}",
        "bits that differ": "{wrong_bits}",
    },
)
