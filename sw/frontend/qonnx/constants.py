"""Constants that a file computes from others."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import LoweringError
from xnorflow.sw.frontend.qonnx.file import MOST_VALUES
from xnorflow.sw.frontend.qonnx.moves import MOVES
from xnorflow.sw.frontend.qonnx.quantisers import WEIGHT_QUANTISERS
from xnorflow.sw.frontend.qonnx.values import Call, Constant, Levels, taken


__all__ = ["Constants"]

_ELEMENTWISE = frozenset({"Abs", "Add", "Div", "Mul", "Neg", "Pow", "Reciprocal", "Sqrt", "Sub"})
_FOLDED = _ELEMENTWISE | {"Cast", "Concat", "Constant", "Gather", "Slice"}


class Constants:
    """Evaluates nodes all of whose inputs are constants, as far as they stay small.

    Parameters
    ----------
    opset : int
        In the meaning of which operators are evaluated, in the types that the file has.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.left = MOST_VALUES

    def of(self, call: Call) -> Constant:
        """Result of a node.

        Raises
        ------
        LoweringError
            If it is of no known operator, or too big.
        """
        if call.op in WEIGHT_QUANTISERS:
            return WEIGHT_QUANTISERS[call.op](call)
        inputs = [None if n is None else call.constant(k) for k, n in enumerate(call.inputs)]
        first = inputs[0] if inputs else None
        if call.op in MOVES and first is not None:
            return taken(first, lambda values: MOVES[call.op](call, values))
        if call.op not in _FOLDED:
            raise call.error("is not known as an operator of constants")
        arrays = [_plain(call, each) for each in inputs]
        self._spend(call, arrays)
        return self._evaluate(call, arrays)

    def _spend(self, call: Call, arrays: list[NDArray[Any] | None]) -> None:
        known = [each for each in arrays if each is not None]
        if call.op in _ELEMENTWISE:
            shape = np.broadcast_shapes(*(each.shape for each in known))
            size = np.prod(np.array(shape, object))
        elif call.op == "Gather":
            size = np.prod(np.array([each.size for each in known], object))
        else:
            size = sum(each.size for each in known)
        self.left -= int(size)
        if self.left < 0:
            raise call.error(f"computes constants of more than {MOST_VALUES:,} values")

    def _evaluate(self, call: Call, arrays: list[NDArray[Any] | None]) -> NDArray[Any]:
        from onnx import GraphProto, TensorProto, helper
        from onnx.reference import ReferenceEvaluator

        names = [f"i{n}" if each is not None else "" for n, each in enumerate(arrays)]
        attributes = {
            key: helper.make_tensor(
                "value", helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.ravel()
            )
            if isinstance(value, np.ndarray)
            else value
            for key, value in call.attributes.items()
        }
        graph = GraphProto(name="constant")
        graph.node.append(helper.make_node(call.op, names, ["o"], **attributes))
        for name in filter(None, names):
            graph.input.append(helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None))
        graph.output.append(helper.make_tensor_value_info("o", TensorProto.UNDEFINED, None))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        given = {name: each for name, each in zip(names, arrays, strict=True) if name}
        try:
            with np.errstate(all="ignore"):
                (result,) = ReferenceEvaluator(model).run(None, given)
        # It raises whatever its operators happen to run into.
        except Exception as error:
            text = str(error).partition("\n")[0]
            raise LoweringError(f"{call.origin} cannot be evaluated: {text}") from None
        return np.asarray(result)


def _plain(call: Call, constant: Constant | None) -> NDArray[Any] | None:
    if isinstance(constant, Levels):
        raise call.error("changes weights behind their quantiser, where only moves are accepted")
    return constant
