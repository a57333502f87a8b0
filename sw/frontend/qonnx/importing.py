"""Import of ONNX files as QONNX, Brevitas and FINN write them."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from xnorflow.errors import LoweringError, NetworkError
from xnorflow.ir import FeatureMap, Network, Provenance, Quantisation
from xnorflow.sw.frontend.qonnx.file import open_model, printable
from xnorflow.sw.frontend.qonnx.frames import frame_of, with_scale
from xnorflow.sw.frontend.qonnx.reader import read
from xnorflow.sw.lower import Labels, network_of
from xnorflow.sw.lowering.exact import exact_nodes


__all__ = ["Import", "import_onnx"]


@dataclass(frozen=True, eq=False)
class Import:
    """What a file holds.

    Attributes
    ----------
    network : Network
    notes : tuple of str
        Sentences on what was read in another way than it is written.
    """

    network: Network
    notes: tuple[str, ...]


def import_onnx(
    path: Path | str,
    *,
    input: FeatureMap | None = None,
    scale: Fraction | int | None = None,
    labels: Labels = None,
) -> Import:
    """Network of integers that computes what an ONNX file does, in exact arithmetic.

    Parameters
    ----------
    path : path
        Of the file.
    input : FeatureMap, optional
        Shape and type of a frame, whose integers are the values that the model takes; otherwise
        those of the file's input, with pixels 0 … 255 unless the file says otherwise.
    scale : Fraction, optional
        Value that the integer 1 stands for: 1/255 for pixels that the model takes as 0 … 1. That
        is found out where the model begins with a scale that tells.
    labels : tuple of str, or dict of such tuples, optional
        As for `xnorflow.sw.lower.lower`.

    Raises
    ------
    FormatError
        If the file cannot be read, or is none that is accepted.
    LoweringError
        If a node cannot be read or lowered, with its name.
    ToolError
        If the package onnx is missing.
    """
    model = open_model(path)
    if scale is not None and scale <= 0:
        raise LoweringError(f"the scale of the input must be above 0, not {scale}")
    try:
        frame = input or frame_of(model)
        reading = read(model, frame)
        graph, quantisation = reading.graph, None
        if reading.input is None:
            known = None if scale is None else Fraction(scale)
            graph = with_scale(graph, model, known, told=input is not None)
        elif scale is not None or input not in (None, replace(frame, type=reading.input.type)):
            raise LoweringError("the model quantises its input, which decides what frames are")
        else:
            frame = replace(frame, type=reading.input.type)
            quantisation = reading.input.quantisation
        nodes, heads = exact_nodes(graph, frame, Quantisation())
        network = network_of(
            nodes,
            frame,
            heads=heads,
            quantisation=quantisation,
            name=printable(Path(path).stem),
            labels=labels,
            provenance=Provenance(),
        )
    except NetworkError as error:
        raise LoweringError(f"no network can hold this model: {error}") from None
    return Import(network, reading.notes)
