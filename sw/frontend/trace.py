"""Trace of a PyTorch module: what calls what, with the shape of everything in between."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from xnorflow.errors import LoweringError
from xnorflow.ir import FeatureMap


__all__ = ["results_of", "trace"]

_LEAVES = "torch.nn", "torch.ao.nn", "xnorflow.sw.nn"


class _Tracer(fx.Tracer):
    """Stops at layers: those of PyTorch, and ours."""

    def is_leaf_module(self, module: nn.Module, _name: str) -> bool:
        """Whether a module is one layer, whatever it is made of."""
        if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            return False
        return module.__module__.startswith(_LEAVES)


class _Shapes(fx.Interpreter):
    """Executes a traced module, and notes the shape of every tensor in its node."""

    def run_node(self, n: fx.Node) -> Any:
        """Result of a node."""
        norm = self.submodules.get(str(n.target)) if n.op == "call_module" else None
        if isinstance(norm, nn.BatchNorm1d) and norm.running_mean is None:
            # It does not take a single frame, and is refused later, by its name.
            result = self.fetch_args_kwargs_from_env(n)[0][0]
        else:
            result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = tuple(result.shape)
        return result


def results_of(output: fx.Node) -> dict[str, fx.Node]:
    """What a traced model returns: by the names of a dict, or of what delivers it.

    Raises
    ------
    LoweringError
        If it returns something else than tensors.
    """
    (result,) = output.args
    if isinstance(result, fx.Node):
        return {"": result}
    if isinstance(result, tuple | list):
        named: list[tuple[Any, Any]] = [(getattr(each, "target", ""), each) for each in result]
    else:
        named = list(result.items()) if isinstance(result, dict) else []
    found: dict[str, fx.Node] = {}
    for name, node in named:
        if not isinstance(node, fx.Node):
            found.clear()
            break
        text = name if isinstance(name, str) else node.name
        found[node.name if text in found else text] = node
    if len(found) < len(named) or not found:
        raise LoweringError("the model must return one tensor that its input decides, or several")
    return found


def trace(model: nn.Module, frame: FeatureMap) -> fx.GraphModule:
    """Trace ``model``, which takes a batch of frames (N, channels, height, width).

    Parameters
    ----------
    model : Module
        In evaluation mode. The result shares its modules and parameters.
    frame : FeatureMap
        What a frame is like. The model is executed once, on a frame of zeros.

    Returns
    -------
    GraphModule
        Nodes that deliver a tensor have its shape in ``meta["shape"]``.

    Raises
    ------
    LoweringError
        If the model cannot be traced or does not take such frames, or if a batch norm has no
        running statistics.
    """
    for name, norm in model.named_modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.running_mean is None:
            raise LoweringError(
                f"{name} ({type(norm).__name__}) has no running statistics: make it with "
                "track_running_stats=True"
            )
    tracer = _Tracer()
    try:
        graph = tracer.trace(model)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise LoweringError(
            f"the model cannot be traced: {error}; its forward must not depend on values"
        ) from None
    module = fx.GraphModule(tracer.root, graph, type(model).__name__)
    parameter = next(iter(model.parameters()), torch.zeros(()))
    example = parameter.new_zeros(1, frame.channels, frame.height, frame.width)
    try:
        with torch.no_grad():
            _Shapes(module).run(example)
    except (RuntimeError, ValueError) as error:
        raise LoweringError(
            f"the model does not take frames of {frame.channels} channels and "
            f"{frame.height}×{frame.width} pixels: {str(error).splitlines()[0]}"
        ) from None
    return module
