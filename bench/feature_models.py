"""Networks of Brevitas' layers with one feature each; and changes of what is exported."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from brevitas.nn import (
    QuantConv1d,
    QuantConv2d,
    QuantIdentity,
    QuantLinear,
    QuantReLU,
    TruncAvgPool2d,
)
from brevitas.quant.binary import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from brevitas.quant.fixed_point import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerChannelFixedPoint,
    Int8WeightPerTensorFixedPoint,
    Uint8ActPerTensorFixedPoint,
)
from onnx import helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
from qonnx.util.cleanup import cleanup_model
from torch import nn


__all__ = ["CHANGES", "MODELS"]


class _Bit(SignedBinaryActPerTensorConst):
    scaling_const = 1.0


class _BitWeight(SignedBinaryWeightPerTensorConst):
    scaling_const = 0.25


class _Centred(nn.Module):
    """Pixels from −1 to 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x - 1


class _Joined(nn.Module):
    """Channels of two branches."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class _Added(nn.Module):
    """What branches deliver, added up."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = (branch(x) for branch in self.branches)
        return first + second


class _Heads(nn.Module):
    """Two vectors of scores of the same features."""

    def __init__(self, body: nn.Module, *heads: nn.Module) -> None:
        super().__init__()
        self.body, self.heads = body, nn.ModuleList(heads)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.body(x)
        return tuple(head(features) for head in self.heads)


def _bit() -> nn.Module:
    return QuantIdentity(act_quant=_Bit)


def _conv(channels: int, filters: int, kernel: Any = 3, bits: int = 1, **options: Any) -> nn.Module:
    quant = {"weight_quant": _BitWeight}
    if bits > 1:
        quant = {"weight_quant": Int8WeightPerTensorFixedPoint, "weight_bit_width": bits}
    return QuantConv2d(channels, filters, kernel, bias=False, **quant | options)


def _net(*layers: nn.Module, norm: int = 8, first: tuple[nn.Module, ...] = ()) -> nn.Module:
    """Binary images, ``layers`` up to a batch norm of ``norm`` channels, bits, ten scores."""
    body = nn.Sequential(
        *(first or (_Centred(), _bit())),
        *layers,
        nn.BatchNorm2d(norm),
        _bit(),
        nn.Flatten(),
    )
    with torch.no_grad():
        features = body.eval()(torch.rand(2, 1, 14, 14)).shape[1]
    return nn.Sequential(body, _scores(features))


def _scores(features: int) -> nn.Module:
    return QuantLinear(
        features, 10, bias=False, weight_quant=Int8WeightPerTensorFixedPoint, weight_bit_width=4
    )


def _hidden(**options: Any) -> tuple[nn.Module, ...]:
    """A layer of eight filters and its bits."""
    return _conv(1, 8, **options), nn.BatchNorm2d(8), _bit()


def _codes(bits: int) -> nn.Module:
    return _net(_conv(1, 8), nn.BatchNorm2d(8), _relu(bits), _conv(8, 8, stride=2))


def _weights(bits: int, quant: Any = Int8WeightPerTensorFixedPoint) -> nn.Module:
    return _net(*_hidden(), _conv(8, 8, bits=bits, stride=2, weight_quant=quant))


def _samples(channels: int, **options: Any) -> tuple[nn.Module, ...]:
    """A layer of sequences, of sixteen filters, and its bits."""
    conv = QuantConv1d(channels, 16, bias=False, weight_quant=_BitWeight, **options)
    return conv, nn.BatchNorm1d(16), _bit()


def _sequence(**options: Any) -> nn.Module:
    return nn.Sequential(
        _Centred(),
        _bit(),
        *_samples(14, kernel_size=3, padding=1),
        *_samples(16, kernel_size=4, stride=2, **options),
        nn.Flatten(),
        _scores(16 * 6),
    )


def _relu(bits: int) -> nn.Module:
    return QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=bits)


def _residual() -> nn.Module:
    """Codes, and the sums of a layer of theirs, whose scale is a power of two, too."""
    return _net(
        *(_conv(1, 8), nn.BatchNorm2d(8), _relu(2)),
        _Added(nn.Identity(), _conv(8, 8, padding=1)),
    )


def _truncated() -> nn.Module:
    codes = QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=4, return_quant_tensor=True)
    pool = TruncAvgPool2d(2, bit_width=2, return_quant_tensor=False)
    return _net(_conv(1, 8, padding=1), nn.BatchNorm2d(8), codes, pool, _conv(8, 8, padding=1))


def _outputs() -> nn.Module:
    net = _plain()
    return _Heads(net[0], net[1], _scores(net[1].in_features))


def _input() -> nn.Module:
    quantiser = QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=8)
    return _net(_conv(1, 8, bits=4, stride=2), first=(_Centred(), quantiser))


def _plain() -> nn.Module:
    return _net(*_hidden(padding=1), _conv(8, 8, stride=2, padding=1))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "depthwise": lambda: _net(*_hidden(), _conv(8, 8, groups=8, stride=2)),
    "groups": lambda: _net(*_hidden(), _conv(8, 8, groups=2, stride=2)),
    "dilation": lambda: _net(*_hidden(), _conv(8, 8, dilation=(2, 3))),
    "uneven padding": lambda: _net(*_hidden(), nn.ZeroPad2d((0, 1, 2, 0)), _conv(8, 8, stride=2)),
    "stride by direction": lambda: _net(*_hidden(), _conv(8, 8, stride=(1, 2), padding=(1, 0))),
    "even kernel": lambda: _net(*_hidden(), _conv(8, 8, (4, 2), stride=2, padding=1)),
    "1-D": _sequence,
    "1-D depthwise": lambda: _sequence(groups=16),
    "2-bit activations": lambda: _codes(2),
    "3-bit activations": lambda: _codes(3),
    "4-bit activations": lambda: _codes(4),
    "ternary weights": lambda: _weights(2),
    "3-bit weights": lambda: _weights(3),
    "4-bit weights": lambda: _weights(4),
    "scales per channel": lambda: _weights(3, Int8WeightPerChannelFixedPoint),
    "negative gamma": lambda: _net(*_hidden(padding=1), _conv(8, 8, padding=1), nn.MaxPool2d(2)),
    "PReLU": lambda: _net(
        _conv(1, 8), nn.BatchNorm2d(8), nn.PReLU(8), *_hidden()[1:], _conv(8, 8, stride=2)
    ),
    "concat": lambda: _net(
        _Joined(nn.Sequential(*_hidden()), nn.Sequential(*_hidden(bits=3))),
        _conv(16, 8, stride=2),
    ),
    "max-pool": lambda: _net(*_hidden(padding=1), nn.MaxPool2d(2), _conv(8, 8, padding=1)),
    "average pool": lambda: _net(
        *_hidden(padding=1), nn.AvgPool2d(2), _relu(2), _conv(8, 8, padding=1)
    ),
    "truncated average pool": _truncated,
    "concat of codes": lambda: _net(
        _Joined(nn.Sequential(*_hidden()[:2], _relu(2)), nn.Sequential(*_hidden()[:2], _relu(2))),
        _conv(16, 8, stride=2),
    ),
    "uneven levels": lambda: _codes(3),
    "residual add": _residual,
    "several outputs": _outputs,
    "input quantiser": _input,
    "softmax": lambda: nn.Sequential(_plain(), nn.Softmax(dim=1)),
    "TopK": _plain,
    "channels last": _plain,
    "MultiThreshold": _plain,
    "old dialect": _plain,
}


def _to_thresholds(model: Any) -> Any:
    """Activations as FINN has them."""
    constants = {each.name for each in model.graph.initializer}
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1), np.float32), "zero"))
    for node in model.graph.node:
        if node.op_type == "BipolarQuant" and node.input[0] not in constants:
            node.op_type = "MultiThreshold"
            del node.input[1:]
            node.input.append("zero")
            options = {"out_scale": 2.0, "out_bias": -1.0, "out_dtype": "BIPOLAR"}
            node.attribute.extend(helper.make_attribute(*each) for each in options.items())
    return model


def _to_uneven(model: Any) -> Any:
    """Levels 0, 1, 2, 4 and 8 in place of codes of 3 bits, as repeated thresholds."""
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Quant" and node.input[0] not in constants:
            scale = float(constants[node.input[1]])
            rows = scale * np.array([[0.5, 1.5, 3, 3, 6, 6, 6, 6]], np.float32)
            model.graph.initializer.append(numpy_helper.from_array(rows, "rows"))
            node.op_type = "MultiThreshold"
            del node.input[1:], node.attribute[:]
            node.input.append("rows")
            options = {"out_scale": scale, "out_bias": 0.0, "out_dtype": "UINT4"}
            node.attribute.extend(helper.make_attribute(*each) for each in options.items())
    return model


def _to_old(model: Any) -> Any:
    """Brevitas' own domain, as it had before QONNX."""
    for node in model.graph.node:
        node.domain = node.domain.replace("qonnx.custom_op.general", "onnx.brevitas")
    for opset in model.opset_import:
        opset.domain = opset.domain.replace("qonnx.custom_op.general", "onnx.brevitas")
    return model


def _to_channels_last(model: Any) -> Any:
    clean = cleanup_model(ModelWrapper(model))
    changed = ConvertToChannelsLastAndClean(make_input_channels_last=False)
    found = clean.transform(changed)
    # Of any batch, as it was before.
    for node in found.get_nodes_by_op_type("Reshape"):
        _, size = found.get_initializer(node.input[1])
        found.set_initializer(node.input[1], np.array([-1, size]))
    return found.model


def _with_label(model: Any) -> Any:
    """The largest score's class behind the scores."""
    (scores,) = (each.name for each in model.graph.output)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    node = helper.make_node("TopK", [scores, "one"], ["score", "label"], "TopK_0", axis=-1)
    model.graph.node.append(node)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("label", 7, [1, 1]))
    return model


CHANGES: dict[str, Callable[[Any], Any]] = {
    "TopK": _with_label,
    "channels last": _to_channels_last,
    "MultiThreshold": _to_thresholds,
    "old dialect": _to_old,
    "uneven levels": _to_uneven,
}
