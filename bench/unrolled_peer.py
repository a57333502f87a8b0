"""What da4ml or alkaid make of a layer; bench/peers.py runs this where they are installed.

    python bench/unrolled_peer.py PEER FOLDER LEVELS

Reads layer.npz in the folder, and writes top.v there: all Verilog, with a register in front of the
layer and one behind it. LEVELS is the delay between registers, in adders.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from time import monotonic

import numpy as np


TOP = """
module top(input clk, input rst, input [INPUTS-1:0] i, output [NEURONS-1:0] o);
  layer layer(.clk(clk), .model_inp(i), .model_out(o));
endmodule
"""


def main() -> None:
    """Solve and write."""
    peer, folder, cutoff = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    layer = np.load(folder / "layer.npz")
    weights, thresholds = layer["weights"], layer["thresholds"]
    neurons, inputs = weights.shape
    begin = monotonic()
    write = {"da4ml": write_da4ml, "alkaid": write_alkaid}[peer]
    stages = write(weights, thresholds, folder / "project", cutoff)
    seconds = monotonic() - begin
    # A look-up table wants a file of contents, and there is none.
    files = [each for each in (folder / "project").rglob("*.v") if each.stem != "lookup_table"]
    sources = [each.read_text() for each in sorted(files)]
    top = TOP.replace("INPUTS", str(inputs)).replace("NEURONS", str(neurons))
    (folder / "top.v").write_text("".join([*sources, top]))
    print(
        json.dumps({
            "version": version(peer),
            "seconds": round(seconds, 1),
            "levels_per_stage": cutoff,
            "latency": 1 + len(list((folder / "project").rglob(stages))),
        })
    )


def write_da4ml(weights, thresholds, project, cutoff):
    """Write Verilog; gives the names of the files that are a stage each."""
    from da4ml.codegen import RTLModel
    from da4ml.trace import FixedVariableArrayInput, HWConfig, comb_trace

    bits = quantised(FixedVariableArrayInput, HWConfig, weights.shape[1])
    layer = comb_trace(bits, compared(bits, weights, thresholds))
    RTLModel(layer, "layer", project, latency_cutoff=cutoff, print_latency=False).write()
    return "layer_stage*.v"


def write_alkaid(weights, thresholds, project, cutoff):
    """The same by da4ml's successor."""
    from alkaid.codegen import RTLModel
    from alkaid.trace import FVArrayInput, HWConfig, trace

    bits = quantised(FVArrayInput, HWConfig, weights.shape[1])
    layer = trace(bits, compared(bits, weights, thresholds))
    RTLModel(layer, project, "layer", latency_cutoff=cutoff, print_latency=False).write()
    return "logic*.v"


def quantised(array, config, inputs):
    """Bits, as fixed-point numbers of one bit."""
    return array((inputs,), config(1, -1, -1)).quantize(
        k=np.zeros(inputs, int), i=np.ones(inputs, int), f=np.zeros(inputs, int)
    )


def compared(bits, weights, thresholds):
    """Results of the layer."""
    return bits @ (2.0 * weights.T - 1) + (~weights).sum(axis=1) >= thresholds


if __name__ == "__main__":
    main()
