"""Binary perceptrons: FINN's TFC, SFC and LFC."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.registry import Task, named, scaled
from xnorflow.sw.nn.arguments import check_kind, check_sizes
from xnorflow.sw.nn.input_threshold import InputThreshold
from xnorflow.sw.nn.linear import BinaryLinear


__all__ = ["MLP", "balance", "check_hidden", "lfc", "mlp", "sfc", "tfc"]


class MLP(nn.Sequential):
    """Dense layers, each with a batch norm behind it, and a last one for the scores.

    A learned threshold makes bits of the raw pixels. All classes share one scale, so that scores
    are integers up to one factor.

    Parameters
    ----------
    inputs : int
        Values of a frame.
    hidden : sequence of int
        Neurons of each hidden layer.
    classes : int
    method : Method

    Attributes
    ----------
    log_temperature : scalar
        Logarithm of the positive factor from scores to logits. It changes no label.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], classes: int, *, method: Method = Method.SIGN
    ) -> None:
        check_kind("method", method, Method)
        check_hidden(hidden)
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for n, (fan_in, fan_out) in enumerate(pairwise((inputs, *hidden)), 1):
            bits = method.activations() if n > 1 else InputThreshold()
            layers[f"fc{n}"] = BinaryLinear(fan_in, fan_out, method.weights(fan_out), bits)
            layers[f"norm{n}"] = nn.BatchNorm1d(fan_out)
        fan_in = hidden[-1] if hidden else inputs
        bits = method.activations(last=True) if hidden else InputThreshold()
        weights = method.weights(classes, last=True)
        layers[f"fc{len(hidden) + 1}"] = BinaryLinear(fan_in, classes, weights, bits)
        super().__init__(layers)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        balance(self, method)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of raw pixels ``x`` (N, channels, height, width) in 0…255."""
        return super().forward(x) * self.log_temperature.exp()


def check_hidden(hidden: Sequence[int]) -> None:
    """Check that hidden layers can have so many neurons.

    Raises
    ------
    NetworkError
        If they cannot.
    """
    for neurons in hidden:
        check_sizes(**{"the neurons of a hidden layer": neurons})


@torch.no_grad()
def balance(model: nn.Module, method: Method) -> None:
    """Let half of the neurons fall at first where weights are never negative.

    Otherwise every neuron would grow with every pixel; so they have something to weigh against.
    """
    if method is Method.SIMAN:
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                norm.get_parameter("weight")[1::2] = -1


@named
def tfc(task: Task, *, method: Method = Method.SIGN, width: float = 1.0) -> MLP:
    """FINN's tiny one: three hidden layers of 64 neurons."""
    return _three_hidden(task, method, *scaled(width, 64))


@named
def sfc(task: Task, *, method: Method = Method.SIGN, width: float = 1.0) -> MLP:
    """FINN's small one: three hidden layers of 256 neurons."""
    return _three_hidden(task, method, *scaled(width, 256))


@named
def lfc(task: Task, *, method: Method = Method.SIGN, width: float = 1.0) -> MLP:
    """FINN's large one: three hidden layers of 1,024 neurons."""
    return _three_hidden(task, method, *scaled(width, 1024))


@named
def mlp(task: Task, *, hidden: Sequence[int], method: Method = Method.SIGN) -> MLP:
    """Hidden layers of any widths."""
    return MLP(prod(task.shape), hidden, task.classes, method=method)


def _three_hidden(task: Task, method: Method, neurons: int) -> MLP:
    return MLP(prod(task.shape), (neurons,) * 3, task.classes, method=method)
