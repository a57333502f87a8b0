"""What da4ml makes of a layer, for bench/unrolled.py, which runs this where da4ml is installed.

    python bench/unrolled_da4ml.py FOLDER LEVELS

Reads layer.npz in the folder, and writes top.v there: all Verilog, with a register in front of the
layer and one behind it. LEVELS is the delay between registers, in adders.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from time import monotonic

import numpy as np
from da4ml.codegen import RTLModel
from da4ml.trace import FixedVariableArrayInput, HWConfig, comb_trace


TOP = """
module top(input clk, input rst, input [INPUTS-1:0] i, output [NEURONS-1:0] o);
  layer layer(.clk(clk), .model_inp(i), .model_out(o));
endmodule
"""


def main() -> None:
    """Solve and write."""
    folder, cutoff = Path(sys.argv[1]), float(sys.argv[2])
    layer = np.load(folder / "layer.npz")
    weights, thresholds = layer["weights"], layer["thresholds"]
    neurons, inputs = weights.shape
    begin = monotonic()
    bits = FixedVariableArrayInput((inputs,), HWConfig(1, -1, -1)).quantize(
        k=np.zeros(inputs, int), i=np.ones(inputs, int), f=np.zeros(inputs, int)
    )
    matches = bits @ (2.0 * weights.T - 1) + (~weights).sum(axis=1)
    results = matches >= thresholds
    layer = comb_trace(bits, results)
    model = RTLModel(layer, "layer", folder / "project", latency_cutoff=cutoff, print_latency=False)
    model.write()
    seconds = monotonic() - begin
    # A look-up table wants a file of contents, and there is none.
    files = [each for each in (folder / "project").rglob("*.v") if each.stem != "lookup_table"]
    sources = [each.read_text() for each in sorted(files)]
    top = TOP.replace("INPUTS", str(inputs)).replace("NEURONS", str(neurons))
    (folder / "top.v").write_text("".join([*sources, top]))
    print(
        json.dumps({
            "version": version("da4ml"),
            "seconds": round(seconds, 1),
            "levels_per_stage": cutoff,
            "latency": 1 + len(list((folder / "project").rglob("layer_stage*.v"))),
        })
    )


if __name__ == "__main__":
    main()
