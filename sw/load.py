"""Networks from files of any kind."""

from fractions import Fraction
from pathlib import Path

from xnorflow.errors import FormatError
from xnorflow.ir import FeatureMap, Network, xnf


__all__ = ["load"]


def load(
    path: Path | str, *, input: FeatureMap | None = None, scale: Fraction | int | None = None
) -> Network:
    """Network of an .xnf file, or of an .onnx file, which `xnorflow.sw.frontend.qonnx` reads.

    Raises
    ------
    FormatError
        If the file cannot be read, or if ``input`` or ``scale`` are given for an .xnf file.
    LoweringError
        If the model of an .onnx file has no exact integer network.

    Examples
    --------
    >>> network = xnorflow.load("zoo/mnist-tfc-sign.xnf")
    >>> [node.name for node in network.nodes][:3]
    ['input_bits', 'fc1', 'act1']
    >>> xnorflow.save(network, "copy.xnf")
    """
    if Path(path).suffix.lower() == ".onnx":
        from xnorflow.sw.frontend.qonnx.importing import import_onnx

        return import_onnx(path, input=input, scale=scale).network
    if input is not None or scale is not None:
        raise FormatError(f"{path} says itself what its input is: give that for .onnx files only")
    return xnf.load(path)
