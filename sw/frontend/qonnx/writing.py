"""Writing of an ONNX model, node by node."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError, ToolError
from xnorflow.ir import INPUT


__all__ = ["DOMAIN", "Writer", "channels_of"]

DOMAIN: Final = "qonnx.custom_op.general"
_OPSET: Final = 13


class Writer:
    """Nodes so far; a method that adds some gives the name of what the last one delivers."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError:
            raise ToolError(
                "ONNX files need the package onnx: pip install 'xnorflow[qonnx]'"
            ) from None
        self.onnx: Any = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def model(self, name: str, shape: list[int], outputs: list[tuple[str, list[int]]]) -> Any:
        """Model of a tensor of a ``shape``, that delivers ``outputs``: scores, and a label."""
        helper, kind = self.onnx.helper, self.onnx.TensorProto
        kinds = kind.FLOAT, kind.INT64
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(INPUT, kind.FLOAT, shape)],
            [
                helper.make_tensor_value_info(each, of, sides)
                for (each, sides), of in zip(outputs, kinds, strict=False)
            ],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, producer_name="xnorflow")

    def times(self, x: str, factors: NDArray[Any]) -> str:
        """``x`` times ``factors`` (channels,)."""
        return x if (factors == 1).all() else self.call("Mul", x, channels_of(factors))

    def plus(self, x: str, terms: NDArray[Any]) -> str:
        """``x`` plus ``terms`` (channels,), or (channels, rows, columns)."""
        if not terms.any():
            return x
        return self.call("Add", x, terms if terms.ndim > 1 else channels_of(terms))

    def call(
        self, op: str, *inputs: Any, domain: str = "", name: str = "", **attributes: Any
    ) -> str:
        """A node of ``inputs`` by name, and of constants."""
        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        result = f"t{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(
                op, names, [result], name or f"{op}_{len(self.nodes)}", domain=domain, **attributes
            )
        )
        return result

    def _constant(self, value: Any) -> str:
        array = np.asarray(value)
        if array.dtype.kind == "f" or array.ndim > 1:
            exact, array = array, array.astype(np.float32)
            if (array != exact).any():
                raise NetworkError("the network has constants that float32 does not hold exactly")
        name = f"c{len(self.constants)}"
        self.constants[name] = self.onnx.numpy_helper.from_array(array, name)
        return name


def channels_of(values: NDArray[Any]) -> NDArray[Any]:
    """Values (channels,) for maps (1, channels, height, width)."""
    return values.reshape(-1, 1, 1)
