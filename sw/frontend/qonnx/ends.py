"""Operators at the end of a model that change no label, and notes on what is read otherwise."""

from dataclasses import replace

from xnorflow.sw.frontend.qonnx.values import Call, Tensor


__all__ = ["ENDS", "end", "look"]

ENDS = frozenset({"ArgMax", "LogSoftmax", "Softmax", "TopK"})


def end(call: Call) -> tuple[list[str], Tensor]:
    """Scores behind a softmax, or in front of what makes a label of them; and notes on that."""
    x = call.tensor()
    if x.order.shape[call.integer("axis", 0 if call.op == "ArgMax" else -1)] != x.order.size:
        raise call.error("must go over the classes, and over all of them")
    if call.op == "ArgMax" and call.integer("select_last_index", 0):
        raise call.error("takes the last class of equal ones: accepted is the first one")
    if call.op == "TopK":
        count = call.integers("k", 1) or [0]
        if len(count) != 1 or not 1 <= count[0] <= x.order.size or not call.integer("largest", 1):
            raise call.error("must deliver the largest scores, no more than there are")
        if count != [1]:
            best = f"the {count[0]} best classes are xnorflow.top_k(scores, {count[0]})"
            return [f"{call.origin} is left out: {best}"], replace(x, end=call.origin)
    softmax = call.op.endswith("Softmax")
    note = f"{call.origin} is left out: the order of the scores is the same without it"
    return [note] if softmax else [], replace(x, end=call.origin)


def look(call: Call) -> list[str]:
    """Notes on a quantiser."""
    if call.op != "Sign":
        return []
    return [f"{call.origin} gives +1 for 0, where ONNX has a third level"]
