"""Models: binary multi-layer perceptrons for small pictures."""

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from xnorflow.errors import NetworkError
from xnorflow.sw.nn.activations import (
    ActivationQuantiser,
    AdaBinActivation,
    InputThreshold,
    Sign,
)
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.weights import (
    AdaBinWeight,
    SignWeight,
    SiManForm,
    SiManWeight,
    WeightQuantiser,
)


__all__ = ["MLP", "MLPConfig", "Method", "Width"]

# Fractional bits of β before the last layer, whose scores are integers of about as many bits more.
_SCORE_FRACTION = 4

_MAX_SIZE = 1 << 16


class Method(Enum):
    """How weights and activations are binarised."""

    SIGN = "sign"
    """Sign with a scale for every filter; sign."""

    ADABIN = "adabin"
    """Two adaptive levels for every filter; two learned levels."""

    SIMAN = "siman"
    """Weights {0, α} that mark the larger half of the magnitudes; sign."""

    SIMAN_BIPOLAR = "siman-bipolar"
    """The same bits as weights ±α; sign."""


@dataclass(frozen=True)
class MLPConfig:
    """What an `MLP` is made of.

    Attributes
    ----------
    hidden : tuple of int
        Neurons of each hidden layer.
    method : Method
    input_shape : (height, width, channels)
    classes : int

    Raises
    ------
    NetworkError
        If a size is out of range.
    """

    hidden: tuple[int, ...]
    method: Method = Method.SIGN
    input_shape: tuple[int, int, int] = (28, 28, 1)
    classes: int = 10

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise NetworkError(
                f"an input must have a height, a width and channels, not {self.input_shape}"
            )
        sizes = prod(self.input_shape), *self.hidden
        if not all(1 <= size <= _MAX_SIZE for size in sizes):
            raise NetworkError(
                f"a perceptron's layers must have 1 to {_MAX_SIZE} values, not {sizes}"
            )
        if not 2 <= self.classes <= _MAX_SIZE:
            raise NetworkError(
                f"a perceptron must have 2 to {_MAX_SIZE} classes, not {self.classes}"
            )


class Width(Enum):
    """FINN's names of three widths, each with three hidden layers."""

    TFC = "tfc"
    SFC = "sfc"
    LFC = "lfc"

    @property
    def hidden(self) -> tuple[int, ...]:
        """Neurons of each hidden layer."""
        return ({Width.TFC: 64, Width.SFC: 256, Width.LFC: 1024}[self],) * 3


class MLP(nn.Module):
    """Pixels → threshold → (binary layer → batch normalisation → binarise) … → binary layer.

    The last layer has one scale for all classes, so that its scores are integers up to one factor.

    Parameters
    ----------
    config : MLPConfig

    Attributes
    ----------
    layers : ModuleList of BinaryLinear
        fc1, fc2, …; each binarises its own input, the first one with an `InputThreshold`.
    norms : ModuleList of BatchNorm1d
        What follows each layer but the last.
    log_temperature : scalar
        Logarithm of the positive factor from scores to logits. It changes no label.
    """

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        widths = prod(config.input_shape), *config.hidden, config.classes
        last = len(widths) - 2
        self.layers = nn.ModuleList(
            BinaryLinear(
                fan_in,
                fan_out,
                _weight_quantiser(config.method, fan_out, last=index == last),
                InputThreshold()
                if index == 0
                else _activation_quantiser(config.method, last=index == last),
            )
            for index, (fan_in, fan_out) in enumerate(pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in config.hidden)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        if config.method is Method.SIMAN:
            # With weights that are never negative, every neuron would grow with every pixel. Half
            # of them start turned round, to have something to weigh against something else.
            with torch.no_grad():
                for norm in self.norms:
                    norm.get_parameter("weight")[1::2] = -1

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, classes) of raw ``pixels`` (N, height, width, channels) in 0…255."""
        return self.trace(pixels)[-1]

    def trace(self, pixels: Tensor) -> list[Tensor]:
        """Everything between the layers, for the same ``pixels``.

        Returns
        -------
        list of (N, features)
            The inputs of fc1, fc2, … before they are binarised, and the logits.
        """
        x = pixels.flatten(1).to(self.log_temperature.dtype)
        inputs = [x]
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            inputs.append(norm(layer(inputs[-1])))
        return [*inputs, self.layers[-1](inputs[-1]) * self.log_temperature.exp()]


def _weight_quantiser(method: Method, filters: int, *, last: bool) -> WeightQuantiser:
    match method:
        case Method.SIGN:
            return SignWeight(shared_scale=last)
        case Method.ADABIN:
            return AdaBinWeight(shared_scale=last)
        case Method.SIMAN:
            return SiManWeight(filters, SiManForm.HALF, shared_scale=last)
        case Method.SIMAN_BIPOLAR:
            return SiManWeight(filters, SiManForm.BIPOLAR, shared_scale=last)


def _activation_quantiser(method: Method, *, last: bool) -> ActivationQuantiser:
    if method is Method.ADABIN:
        return AdaBinActivation(_SCORE_FRACTION if last else None)
    return Sign()
