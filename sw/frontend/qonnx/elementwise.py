"""Operators on each value alone: constants, norms, slopes and clips."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from xnorflow.sw.frontend.graph import Clip, Function, Scale, TwoSlope
from xnorflow.sw.frontend.modules import batch_norm
from xnorflow.sw.frontend.qonnx.values import Call, Constant, Tensor, one, per_channel, taken
from xnorflow.sw.lowering.roots import ONE, ZERO, Root, RootSum


__all__ = ["ARITHMETIC", "ELEMENTWISE"]

ARITHMETIC = frozenset({"Add", "Div", "Mul", "Sub"})


def _arithmetic(call: Call) -> Scale:
    leads = not isinstance(call.inputs[0], Tensor)
    constant, x = call.inputs if leads else call.inputs[::-1]
    if constant is None or isinstance(constant, Tensor) or not isinstance(x, Tensor):
        raise call.error("must have one constant, and one input that the network's input decides")
    values = per_channel(constant, x, call)
    shifts = tuple(map(RootSum.rational, values))
    match call.op:
        case "Add":
            return Scale((ONE,), shifts)
        case "Sub" if leads:
            return Scale((Root(Fraction(-1)),), shifts)
        case "Sub":
            return Scale((ONE,), tuple(-shift for shift in shifts))
        case "Mul":
            return Scale(tuple(map(Root, values)), (ZERO,))
    if leads or not all(values):
        raise call.error("must divide by constants, none of them 0")
    return Scale(tuple(Root(1 / value) for value in values), (ZERO,))


def _negative(_call: Call) -> Scale:
    return Scale((Root(Fraction(-1)),), (ZERO,))


def _norm(call: Call) -> Scale:
    x = call.tensor()
    if call.integer("training_mode", 0):
        raise call.error("is in training mode: export the model in evaluation mode")
    axis = x.order.ndim - 1 if call.channels_last else 1

    def values(n: int) -> list[Fraction]:
        constant: Constant = call.needed(n)
        shape = [1] * x.order.ndim
        shape[axis] = int(np.prod(constant.shape, dtype=int))
        found = per_channel(taken(constant, lambda each: each.reshape(shape)), x, call)
        return found * (x.map[0] // len(found))

    eps = call.number("epsilon", float(np.float32(1e-5)))
    return batch_norm(values(1), values(2), values(3), values(4), eps, call.origin)


def _relu(_call: Call) -> TwoSlope:
    return TwoSlope((ONE,), (Root(Fraction(0)),))


def _leaky(call: Call) -> TwoSlope:
    return TwoSlope((ONE,), (Root(call.number("alpha", float(np.float32(0.01)))),))


def _prelu(call: Call) -> TwoSlope:
    slopes = per_channel(call.needed(1), call.tensor(), call)
    return TwoSlope((ONE,), tuple(map(Root, slopes)))


def _clip(call: Call) -> Clip:
    ends: list[RootSum | None] = []
    for n, name in enumerate(("min", "max"), 1):
        constant = call.constant(n)
        if constant is not None:
            ends.append(RootSum.rational(one(constant, call, name)))
        elif name in call.attributes:
            ends.append(RootSum.rational(call.number(name, 0.0)))
        else:
            ends.append(None)
    return Clip(*ends)


ELEMENTWISE: dict[str, Callable[[Call], Function]] = {
    "Add": _arithmetic,
    "BatchNormalization": _norm,
    "Clip": _clip,
    "Div": _arithmetic,
    "LeakyRelu": _leaky,
    "Mul": _arithmetic,
    "Neg": _negative,
    "PRelu": _prelu,
    "Relu": _relu,
    "Sub": _arithmetic,
}
"""By the operator's name: a function of the only input that is no constant."""
