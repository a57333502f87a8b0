"""Residual models: a stream of many bits, to which binary convolutions add.

AdaBin's, SiMaN's and ReActNet's residual networks are all a first layer on pixels, rows of units
(`xnorflow.sw.nn.unit`) and a classifier. They differ in how they binarise, in what is behind their
sums, and in the shortcuts of units that change the shape.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.dynamic import DyPReLU, DySign, FrameMean
from xnorflow.sw.nn.grid import Grid, mean_shift, place
from xnorflow.sw.nn.normed import NormedBinaryConv, NormedPixelConv
from xnorflow.sw.nn.optional import affine_of, bias_of
from xnorflow.sw.nn.quantiser import ActivationQuantiser, WeightQuantiser
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight
from xnorflow.sw.nn.slopes import TwoSlope, maxout, prelu, relu, rprelu
from xnorflow.sw.nn.unit import Shortcut, Stream, Unit
from xnorflow.sw.residual_config import ResidualConfig, ResidualMethod, UnitConfig, UnitForm


__all__ = ["Classifier", "Residual"]


class Classifier(nn.Module):
    """Global average, batch normalisation, and a dense layer.

    On the grid, scores are ``Σ q·x + o`` with integers q and o, and x the sum over all pixels,
    divided by the next power of two and rounded to the stream: one scale for all classes, so that
    the largest score is the largest logit.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.dense = nn.Linear(channels, classes)

    def forward(self, x: Stream, grid: Grid | None) -> Tensor:
        """Logits (N, classes) of a stream."""
        return self._compute(x, grid)[0]

    def fold(self, x: Stream, grid: Grid) -> tuple[Tensor, Tensor]:
        """Integers q (classes, channels) and o (classes,), in evaluation mode."""
        _, weights, offsets = self._compute(x, grid)
        assert weights is not None
        assert offsets is not None
        return weights, offsets

    def _compute(self, x: Stream, grid: Grid | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        value, bias = x
        norm = self.norm
        mean = value.mean(dim=(2, 3))
        if bias is not None:
            mean = mean + bias
        logits = self.dense(norm(mean))
        if grid is None:
            return logits, None, None
        with torch.no_grad(), torch.autocast(value.device.type, enabled=False):
            variance, centre = norm.running_var, norm.running_mean
            if self.training or variance is None or centre is None:
                variance, centre = torch.var_mean(mean, dim=0, correction=0)
            norm_weight, norm_bias = affine_of(norm, mean)
            gain = norm_weight * (variance + norm.eps).rsqrt()
            pixels = value.shape[2] * value.shape[3]
            unit, share = 2.0**grid.fraction, 2.0 ** -mean_shift(pixels)
            weight = self.dense.weight * gain / (pixels * share)
            shift = norm_bias - gain * (centre if bias is None else centre - bias)
            scale = weight.abs().max() / (2 ** (grid.score_bits - 1) - 1)
            q = (weight / scale).round()
            o = ((self.dense.weight @ shift + bias_of(self.dense)) / scale * unit).round()
            x_grid = grid.round_to_grid(value.sum(dim=(2, 3)) * (unit * share)) * unit
            exact = functional.linear(x_grid, q, o) * (scale / unit)
        return place(logits, exact), q, o


class Residual(nn.Module):
    """A first layer on pixels, units with shortcuts, and a classifier.

    Parameters
    ----------
    config : ResidualConfig

    Attributes
    ----------
    grid : Grid or None
        That of the configuration. A trained model can be put on another one.
    """

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__()
        self.config = config
        pixels, stem = config.pixels, config.stem
        self.stem = NormedPixelConv(
            IntegerConv2d(
                config.input_shape[2],
                stem.channels,
                stem.kernel,
                mean=pixels.mean,
                deviation=pixels.deviation,
                bits=pixels.bits,
                stride=stem.stride,
                padding=stem.kernel // 2,
            )
        )
        self.stem_slopes: TwoSlope | None = None
        if stem.activated:
            slopes = maxout if config.method is ResidualMethod.ADABIN else relu
            self.stem_slopes = slopes(stem.channels)
        units = []
        channels = stem.channels
        for unit in config.units:
            units.append(_unit(config, unit, channels))
            channels = unit.channels
        self.units = nn.ModuleList(units)
        self.classifier = Classifier(channels, config.classes)

    @property
    def grid(self) -> Grid | None:
        """Fixed-point numbers that the model computes with."""
        return self.config.grid

    def on_grid(self, grid: Grid | None) -> "Residual":
        """The same model, parameters shared, with other fixed-point numbers."""
        model = Residual(replace(self.config, grid=grid))
        model.load_state_dict(self.state_dict(), assign=True)
        return model.train(self.training)

    def compile_parts(self) -> None:
        """Let PyTorch compile what works on whole streams, the first time that it is called.

        Once for each shape: there are few, and code for all of them at once cannot always be made.
        """
        for part in (self.stem, self.stem_slopes, *self.units):
            if part is not None:
                part.compile(dynamic=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, classes) of raw ``pixels`` (N, height, width, channels) in 0…255."""
        return self.classifier(self._stream(pixels), self.grid)

    def trace(self, pixels: Tensor) -> dict[str, Tensor]:
        """Everything that flows between the parts, for the same ``pixels``.

        Returns
        -------
        dict of str to tensor
            By the names of the network's nodes: stream values (N, channels, H, W), how far they
            are above the thresholds (``…_bits``), and under ``label`` the logits (N, classes).
        """
        values: dict[str, Tensor] = {}
        stream = self._stream(pixels, values)
        return values | {"label": self.classifier(stream, self.grid)}

    def enter(self, pixels: Tensor, trace: dict[str, Tensor] | None = None) -> Stream:
        """Stream that the first unit gets, of raw ``pixels`` (N, height, width, channels)."""
        x = pixels.to(self.classifier.dense.weight.dtype).permute(0, 3, 1, 2)
        steps = {"stem_norm": self.stem(x, self.grid)}
        value = steps["stem_norm"]
        if self.stem_slopes is not None:
            steps["stem_act"] = value = self.stem_slopes(value, self.grid)
        if self.config.stem.pooled:
            steps["stem_pool"] = value = functional.max_pool2d(value, 3, stride=2, padding=1)
        if trace is not None:
            trace |= steps
        return Stream(value)

    def _stream(self, pixels: Tensor, trace: dict[str, Tensor] | None = None) -> Stream:
        stream = self.enter(pixels, trace)
        for n, unit in enumerate(self.units, 1):
            assert isinstance(unit, Unit)
            parts: dict[str, Tensor] | None = None if trace is None else {}
            stream = unit(stream, unit.quantise(), self.grid, parts)
            if trace is not None and parts is not None:
                trace |= {f"unit{n}_{name}": value for name, value in parts.items()}
        return stream


def _unit(config: ResidualConfig, unit: UnitConfig, channels: int) -> Unit:
    """Unit that gets a stream of so many ``channels``."""
    method, filters = config.method, unit.channels
    changes = unit.stride > 1 or filters > channels

    def convolution(inputs: int, kernel: int, stride: int) -> NormedBinaryConv:
        return NormedBinaryConv(
            BinaryConv2d(
                inputs,
                filters,
                kernel,
                _weight_quantiser(method, filters),
                _activation_quantiser(method, inputs),
                stride=stride,
                padding=kernel // 2,
            )
        )

    if config.form is UnitForm.CLASSIC:
        first, slopes = convolution(channels, unit.kernel, unit.stride), None
        conv = convolution(filters, unit.kernel, 1)
    else:
        first, slopes = None, _slopes(config, filters)
        conv = convolution(channels, unit.kernel, unit.stride)
    projection = None
    if changes and config.shortcut is Shortcut.BINARY:
        projection = convolution(channels, 1, unit.stride)
    return Unit(
        conv,
        slopes,
        first=first,
        shortcut=config.shortcut,
        projection=projection,
        sign=_sign(config, channels, filters),
    )


def _sign(config: ResidualConfig, channels: int, filters: int) -> DySign | FrameMean | None:
    """What dynamic thresholds there are in front of a unit's static ones."""
    match config.method:
        case ResidualMethod.DYBNN:
            return DySign(channels, extra=2 * filters, hyper=config.hyper)
        case ResidualMethod.DYBNN_APART:
            return DySign(channels, hyper=config.hyper)
        case ResidualMethod.SIMAN_MEAN:
            return FrameMean()
        case _:
            return None


def _weight_quantiser(method: ResidualMethod, filters: int) -> WeightQuantiser:
    match method:
        case ResidualMethod.ADABIN:
            # What the grid rounds is ρ times the scale.
            return AdaBinWeight(fraction=None)
        case ResidualMethod.SIMAN | ResidualMethod.SIMAN_BIPOLAR | ResidualMethod.SIMAN_MEAN:
            half = method is ResidualMethod.SIMAN
            quantiser = SiManWeight(filters, SiManForm.HALF if half else SiManForm.BIPOLAR)
            # Batch normalisation undoes the scale.
            quantiser.log_scale.requires_grad_(False)
            return quantiser
        case ResidualMethod.REACTNET | ResidualMethod.DYBNN | ResidualMethod.DYBNN_APART:
            return SignWeight()


def _activation_quantiser(method: ResidualMethod, channels: int) -> ActivationQuantiser:
    match method:
        case ResidualMethod.ADABIN:
            return AdaBinActivation()
        case ResidualMethod.SIMAN_MEAN:
            return Sign()
        case _:
            return RSign(channels, polarised=method is ResidualMethod.SIMAN)


def _slopes(config: ResidualConfig, channels: int) -> TwoSlope:
    match config.method:
        case ResidualMethod.ADABIN:
            return maxout(channels)
        case ResidualMethod.REACTNET:
            return rprelu(channels)
        case ResidualMethod.DYBNN | ResidualMethod.DYBNN_APART:
            apart = config.method is ResidualMethod.DYBNN_APART
            return DyPReLU(channels, apart=apart, hyper=config.hyper)
        case _:
            return prelu(channels)
