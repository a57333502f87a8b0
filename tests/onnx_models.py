"""ONNX models, made node by node, and their execution by qonnx."""

import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from xnorflow.ir import Bit, UInt
from xnorflow.sw.frontend.qonnx.exporting import export_qonnx
from xnorflow.sw.frontend.qonnx.importing import import_onnx
from xnorflow.sw.golden import golden


QONNX = "qonnx.custom_op.general"
BREVITAS = "onnx.brevitas"
CUSTOM = {"BipolarQuant", "Quant", "MultiThreshold", "Trunc"}
FRAMES = 200


class Builder:
    """A model so far; every method gives the name of the tensor that it adds."""

    def __init__(self, *shape, opset=20, domain=QONNX, seed=0):
        self.shape, self.opset, self.domain = shape, opset, domain
        self.nodes, self.constants, self.version = [], [], 1
        self.rng = np.random.default_rng(seed)
        self.x = "x"

    def constant(self, value):
        """A constant of float32, unless it is of integers."""
        value = np.asarray(value)
        value = value.astype(np.float32) if value.dtype.kind == "f" else value
        self.constants.append(numpy_helper.from_array(value, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def call(self, op, *inputs, outputs=1, domain=None, **attributes):
        """A node on tensors by name, and on constants."""
        n = len(self.nodes)
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        results = [f"t{n}"] + [f"t{n}_{k}" for k in range(1, outputs)]
        custom = domain or (self.domain if op in CUSTOM else "")
        name = f"{op}_{n}"
        self.nodes.append(helper.make_node(op, names, results, name, domain=custom, **attributes))
        return results[0]

    def then(self, op, *others, **keywords):
        """A node on what the last one delivers."""
        self.x = self.call(op, self.x, *others, **keywords)
        return self.x

    def weights(self, *shape, op="BipolarQuant", scale=0.5, bits=3.0):
        """Latent weights behind their quantiser."""
        latent = self.rng.normal(size=shape)
        latent[self.rng.random(shape) < 0.1] = 0
        if op == "BipolarQuant":
            return self.call(op, latent, scale)
        return self.call(op, latent, scale, 0.0, bits, signed=1, narrow=1, rounding_mode="ROUND")

    def flat(self):
        """A vector of what the last node delivers; the number of its values."""
        self.then("Flatten")
        return run(self.model(), np.zeros((1, *self.shape[1:])))[self.x].shape[1]

    def norm(self, channels):
        """A batch norm."""
        gain, shift, mean = self.rng.normal(size=(3, channels))
        variance = self.rng.uniform(0.5, 4, channels)
        self.then("BatchNormalization", gain, 2 * shift, mean, variance, epsilon=1e-5)

    def model(self, batch="N"):
        """The whole model."""
        shape = (batch, *self.shape[1:])
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        result = helper.make_tensor_value_info(self.x, TensorProto.UNDEFINED, None)
        graph = helper.make_graph(self.nodes, "net", [given], [result], self.constants)
        opsets = [
            helper.make_opsetid("", self.opset),
            helper.make_opsetid(self.domain, self.version),
        ]
        return helper.make_model(graph, opset_imports=opsets)

    def save(self, path):
        """Write it to a file."""
        path.write_bytes(self.model().SerializeToString())
        return path


def run(model, x):
    """All tensors of a model for a batch ``x``, as qonnx executes it."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = len(x)
    for node in model.graph.node:
        if node.domain == BREVITAS:
            node.domain = QONNX
    label = model.graph.node[-1].op_type in ("ArgMax", "TopK")
    kind = TensorProto.INT64 if label else TensorProto.FLOAT
    model.graph.output[0].type.tensor_type.elem_type = kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = ModelWrapper(model).transform(InferShapes())
        return execute_onnx(wrapped, {"x": x.astype(np.float32)}, return_full_exec_context=True)


def proportional(integers, values):
    """Whether ``values`` of float32 are ``integers`` times one number above 0, exactly.

    They are compared crosswise in float64, which holds products of 29 bits and float32's 24.
    """
    integers, values = (np.asarray(each, np.float64).reshape(-1) for each in (integers, values))
    assert max(np.abs(integers).max(), 1) * 2.0**24 < 2**53
    assert np.array_equal(values.astype(np.float32), values)
    most = np.abs(integers).argmax()
    assert integers[most] * values[most] > 0
    return np.array_equal(integers * values[most], values * integers[most])


def executed(network, path, pixels):
    """Let qonnx execute the ONNX file of a network, which must give its scores and labels."""
    onnx.checker.check_model(onnx.load(path))
    model = ModelWrapper(str(path)).transform(InferShapes())
    expected = golden(network, pixels)
    scores, *label = (each.name for each in model.graph.output)
    for n, frame in enumerate(pixels):
        found = execute_onnx(model, {"input": np.moveaxis(frame, -1, 0)[None].astype(np.float32)})
        assert found[scores].ravel().tolist() == expected.scores[n].tolist()
        if label:
            assert found[label[0]].item() == expected.labels[n]


def round_trip(network, path, pixels):
    """The network as an ONNX file has it, which must give the same bits, labels and scores."""
    export_qonnx(network, path)
    executed(network, path, pixels[:2])
    again = import_onnx(path, input=network.input).network
    first, second = (golden(each, pixels, keep=each.maps) for each in (network, again))
    bits = [name for name, each in network.maps.items() if isinstance(each.type, Bit | UInt)]
    same = [name for name in bits if name in again.maps]
    assert same
    assert all(torch.equal(first.maps[name], second.maps[name]) for name in same)
    assert first.labels.tolist() == second.labels.tolist()
    assert len(first.scores.unique(dim=0)) > 1
    assert proportional(first.scores.numpy(), second.scores.numpy())
    return again


def check(
    builder, path, *, value=lambda pixels: pixels, scores=None, within=0, trip=True, **keywords
):
    """Compare the network of a model with the model: every bit, and the scores.

    Those are equal but for a factor; ``within`` a share of them if they are not exact in float32.
    The network is written and read back, too, unless ``trip`` is false: see `round_trip`.
    """
    frames = FRAMES
    imported = import_onnx(builder.save(path), **keywords)
    network = imported.network
    kind = network.input.type
    pixels = builder.rng.integers(kind.low, kind.high + 1, (frames, *network.input.shape))
    x = value(pixels.astype(np.float64))
    x = x if x.shape[1:] == builder.shape[1:] else np.moveaxis(x, -1, 1)
    tensors = run(builder.model(), x.reshape(frames, *builder.shape[1:]))
    found = golden(network, pixels, keep=network.maps)
    compared = 0
    for node in builder.nodes:
        name = node.name.lower()
        if name in found.maps and found.maps[name].dtype == torch.bool:
            bits = found.maps[name].numpy()
            levels = tensors[node.output[0]].reshape(frames, *np.moveaxis(bits, -1, 1).shape[1:])
            upper = np.moveaxis(levels > (levels.max() + levels.min()) / 2, 1, -1)
            assert (bits == upper).all() or (bits != upper).all(), name
            assert 0.02 < bits.mean() < 0.98, name
            compared += 1
        elif name in found.maps and isinstance(network.maps[name].type, UInt):
            codes = found.maps[name].numpy()
            levels = tensors[node.output[0]].reshape(frames, *np.moveaxis(codes, -1, 1).shape[1:])
            there = np.unique(levels)
            assert 1 < len(there) <= codes.max() + 1, name
            unit = np.diff(there).min()
            steps = np.rint((levels - there[0]) / unit).astype(int)
            assert (np.moveaxis(steps, 1, -1) == codes - codes.min()).all(), name
            compared += 1
    expected = tensors[scores or builder.x].reshape(frames, -1).astype(np.float64)
    integers = found.scores.numpy().astype(np.float64)
    if within:
        factor = (integers * expected).sum() / (expected**2).sum()
        assert factor > 0
        np.testing.assert_allclose(
            integers / factor, expected, rtol=0, atol=within * np.abs(expected).max()
        )
    else:
        assert proportional(integers, expected)
    assert (integers.argmax(1) == expected.argmax(1)).all()
    if trip:
        round_trip(network, path.with_suffix(".again.onnx"), pixels[:50])
    return imported, compared
