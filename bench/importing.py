"""Import of an ONNX file of 20 MB: seconds, and the most memory that the process has.

    python bench/importing.py

The model is a perceptron of latent 32-bit weights behind their quantisers, as Brevitas exports it.
"""

import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from record import record
from rich.console import Console

from xnorflow.sw.frontend.qonnx.importing import import_onnx


WIDTHS = 784, 1536, 1536, 1000, 10
DOMAIN = "qonnx.custom_op.general"


def main() -> None:
    """Import, print and record."""
    before = _memory()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(perceptron().SerializeToString())
        start = time.process_time()
        import_onnx(path)
        row = {
            "model": "perceptron",
            "bytes": path.stat().st_size,
            "seconds": round(time.process_time() - start, 2),
            "megabytes": _memory(),
            "megabytes_before": before,
        }
    Console().print(row)
    record("importing", "python bench/importing.py", ["onnx", "numpy"], [row])


def perceptron() -> Any:
    """Dense layers with biases of batch norms, on binary pixels."""
    rng = np.random.default_rng(0)
    nodes, constants = [], []

    def constant(value: Any) -> str:
        constants.append(numpy_helper.from_array(np.float32(value), f"c{len(constants)}"))
        return constants[-1].name

    def call(op: str, *inputs: str, **attributes: Any) -> str:
        domain = DOMAIN if op == "BipolarQuant" else ""
        result = f"t{len(nodes)}"
        nodes.append(
            helper.make_node(
                op, inputs, [result], f"{op}_{len(nodes)}", domain=domain, **attributes
            )
        )
        return result

    one = constant(1.0)
    x = call("Sub", call("Mul", "x", constant(2.0)), one)
    for inputs, outputs in pairwise(WIDTHS):
        x = call("BipolarQuant", x, one)
        weights = call("BipolarQuant", constant(rng.normal(size=(outputs, inputs))), one)
        x = call("Gemm", x, weights, transB=1)
        if outputs > 10:
            norm = [constant(each) for each in rng.normal(size=(3, outputs))]
            variance = constant(rng.uniform(1, 4, outputs))
            x = call("BatchNormalization", x, *norm, variance)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, WIDTHS[0]))
    scores = helper.make_tensor_value_info(x, TensorProto.FLOAT, (1, WIDTHS[-1]))
    graph = helper.make_graph(nodes, "perceptron", [given], [scores], constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets)


def _memory() -> int:
    """Most memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
