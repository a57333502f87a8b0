"""Values of a model that is prepared for a grid, by the names of its network's nodes."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from xnorflow.sw.lowering.grid import GridLowering
from xnorflow.sw.nn.dynamic import FrameMean
from xnorflow.sw.nn.frame import DySign
from xnorflow.sw.nn.grid_convs import GridBinaryConv
from xnorflow.sw.nn.grid_layers import GridHyper


__all__ = ["observe_grid"]


@torch.no_grad()
def observe_grid(model: fx.GraphModule, x: Tensor) -> tuple[dict[str, Tensor], Any]:
    """Execute a prepared model in float64 on a batch ``x`` (N, channels, height, width).

    Returns
    -------
    (dict of str to tensor, tensor)
        By the names of `grid_nodes`, values of streams, and how far they are above static
        thresholds (``…_bits``), (N, channels, height, width); and the logits.
    """
    observer = _Observer(GridLowering(model))
    return observer.values, observer.run(x)


class _Observer(fx.Interpreter):
    """Executes a prepared model, and notes the values of its nodes."""

    def __init__(self, lowering: GridLowering) -> None:
        super().__init__(lowering.module)
        self.lowering = lowering
        self.values: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Result of a node."""
        result = super().run_node(n)
        layer, name = self.lowering.layer_of(n), self.lowering.at.get(n)
        if isinstance(layer, GridBinaryConv):
            (x, *bias), _ = self.fetch_args_kwargs_from_env(n)
            x = x + bias[0][:, None, None] if bias else x
            distance = layer.activation_quantiser.distance(x.movedim(1, -1)).movedim(-1, 1)
            self.values[f"{name}_bits"] = distance
        elif name in self.lowering.maps and isinstance(result, Tensor) and result.dim() == 4:
            passing = isinstance(layer, DySign | FrameMean | GridHyper | nn.MaxPool2d)
            if n.op != "placeholder" and not passing:
                self.values[str(name)] = result
        return result
