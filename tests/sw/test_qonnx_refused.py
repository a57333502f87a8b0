"""ONNX files that are refused: one sentence, with the node and its neighbours."""

import random
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import xnorflow
from tests.onnx_models import Builder
from xnorflow.errors import FormatError, LoweringError, ToolError, XnorflowError
from xnorflow.ir import FeatureMap, UInt


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def small(seed=0):
    """Three layers, whose first one can be followed by something else."""
    b = Builder(1, 3, 6, 6, seed=seed)
    b.then("Div", 128.0)
    b.then("Conv", b.weights(4, 3, 3, 3), kernel_shape=[3, 3])
    b.then("BipolarQuant", 1.0)
    return b


def finish(b, path, features=64, **keywords):
    """Flatten and score what comes out of ``b``, and load it."""
    b.then("Flatten")
    b.then("Gemm", b.weights(5, features), transB=1)
    return xnorflow.load(b.save(path), **keywords)


# -- nodes --------------------------------------------------------------------------------------

WIDE = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
MESSAGES = {
    "GELU": (("Gelu",), "cannot be read: what can is Add, ArgMax"),
    "5 bits": (("Quant", 0.5, 0.0, 5.0, WIDE), "has 32 levels: activations have at most 4 bits"),
    "steps": (
        ("MultiThreshold", np.zeros((4, 31)), {"out_dtype": "UINT5"}),
        r"has 32 levels: activations have at most 4 bits",
    ),
    "scales": (("BipolarQuant", np.arange(-2.0, 2.0).reshape(4, 1, 1)), "not all above 0"),
    "trunc": (
        ("Trunc", 0.5, 0.0, 6.0, 0.75, 3.0, {"rounding_mode": "FLOOR"}),
        r"must have scales above 0, one of which is the other times 2\^k",
    ),
    "long trunc": (
        ("Trunc", 0.5, 0.0, 9.0, 1.0, 8.0, {"rounding_mode": "FLOOR"}),
        "has 256 levels: activations have at most 4 bits",
    ),
    "rounding": (
        ("Quant", 0.5, 0.0, 1.0, {"signed": 0, "rounding_mode": "UPSIDE"}),
        "has the rounding mode 'UPSIDE': accepted are ROUND, HALF_EVEN",
    ),
    "ones": (("Add", np.ones((1, 3, 1, 1))), "has a constant of the shape .1, 3, 1, 1."),
    "pixels": (("Mul", np.ones((1, 1, 4, 4))), "neither a number nor one for each channel"),
    "infinite": (("Add", np.inf), "has a constant whose values are not finite numbers"),
    "nothing": (("Div", 0.0), "must divide by constants, none of them 0"),
    "pool": (
        ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}),
        "must have windows without dilation",
    ),
    "pad": (
        ("Pad", np.array([0, 1, 0, 0, 0, 0, 0, 0]), 0.0),
        "must pad rows and columns, nothing else",
    ),
    "ones around": (("Pad", np.array([0, 0, 1, 0, 0, 0, 1, 0]), 1.0), "must pad with zeros"),
    "cut": (
        ("Conv", np.ones((4, 4, 1, 1)), {"pads": [0, 0, -1, 0]}),
        r"must not cut off the sides of its map: its padding is .0, -1, 0, 0.",
    ),
    "groups": (
        ("Conv", np.ones((4, 2, 1, 1)), {"group": 4}),
        "has 4 filters of 2 channels in 4 groups, but it gets a map of 4 channels",
    ),
    "sequence": (
        ("Conv", np.ones((4, 4, 1))),
        r"has weights .4, 4, 1.: accepted are .filters, channels, rows, columns. for maps",
    ),
    "strides": (
        ("Conv", np.ones((4, 4, 1, 1)), {"strides": [1]}),
        r"has strides .1.: accepted are 2, none of them below 1",
    ),
    "pads": (("Conv", np.ones((4, 4, 1, 1)), {"pads": [1, 1]}), r"pads .1, 1.: accepted are 4"),
    "large": (
        ("Conv", np.ones((4, 4, 3, 3)), {"dilations": [1, 3]}),
        r"takes maps of at least 3×7 pixels, padding included, but it gets .4, 4, 4.",
    ),
    "floats": (
        ("Conv", np.random.default_rng(0).normal(size=(4, 4, 1, 1))),
        "has weights of floating point: quantise them with Quant or BipolarQuant",
    ),
    "shape": (("Reshape", np.array([7, -1])), "inputs or attributes that do not fit: cannot resh"),
    "softmax": (("Softmax", {"axis": 1}), "must go over the classes"),
    "cast": (("Cast", {"to": TensorProto.INT8}), "must not round what the input decides"),
    "training": (
        ("BatchNormalization", *np.ones((4, 4)), {"training_mode": 1}),
        "is in training mode",
    ),
    "variance": (("BatchNormalization", *-np.ones((4, 4))), "a variance that is not above 0"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_node_is_refused_with_its_neighbours(path, name):
    (op, *inputs), message = MESSAGES[name]
    b = small()
    b.x = b.nodes[-1].input[0]
    attributes = inputs.pop() if inputs and isinstance(inputs[-1], dict) else {}
    b.then(op, *inputs, **attributes)
    around = r".*; it stands behind Conv_2 .Conv. and before Flatten_5 .Flatten."
    with pytest.raises(LoweringError, match=rf"{op}_4 .{op}. .*{message}{around}"):
        finish(b, path)


def test_what_cannot_be_lowered_names_the_node_too(path):
    b = small()
    b.then("Relu")
    with pytest.raises(LoweringError, match=r"Relu_4 \(Relu\) stands behind an activation quant"):
        finish(b, path)


def test_nothing_can_follow_a_softmax(path):
    b = small()
    b.then("Flatten")
    b.then("Softmax")
    with pytest.raises(LoweringError, match=r"stands behind Softmax_5 \(Softmax\), where nothing"):
        finish(b, path)


@pytest.mark.parametrize("second", [2.0, 1.0])
def test_a_scale_must_be_the_same_all_over_a_filter(path, second):
    b = small()
    b.then("Flatten")
    scale = np.where(np.arange(64) < 9, 1.0, second)
    b.then("Gemm", b.call("BipolarQuant", b.rng.normal(size=(5, 64)), scale), transB=1)
    b.save(path)
    if second == 1:
        assert xnorflow.load(path).labels == ("0", "1", "2", "3", "4")
        return
    with pytest.raises(LoweringError, match="weights whose scale is not the same all over a filt"):
        xnorflow.load(path)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("TopK", [np.array([99])], {}, "must deliver the largest scores, no more than there are"),
        ("TopK", [np.array([1])], {"largest": 0}, "must deliver the largest scores, no more"),
        ("ArgMax", [], {"axis": 1, "select_last_index": 1}, "accepted is the first one"),
        ("ArgMax", [], {}, "must go over the classes, and over all of them"),
    ],
)
def test_only_the_first_of_the_largest_scores_is_a_label(path, op, inputs, attributes, message):
    b = small()
    b.then("Flatten")
    b.then("Gemm", b.weights(5, 64), transB=1)
    b.then(op, *inputs, **attributes)
    with pytest.raises(LoweringError, match=message):
        xnorflow.load(b.save(path))


def test_values_of_the_input_must_be_known(path):
    b = Builder(1, 9)
    with pytest.raises(LoweringError, match="does not say what values its input x has: give the"):
        finish(b, path, 9)
    with pytest.raises(LoweringError, match="a frame is said to have 1 channels and 2×2 pixels"):
        xnorflow.load(path, input=FeatureMap(2, 2, 1, UInt(8)))
    with pytest.raises(LoweringError, match="scale of the input must be above 0, not -1"):
        xnorflow.load(path, scale=-1)


# -- files --------------------------------------------------------------------------------------


def change(path, *changes):
    """Write a good file, with ``changes`` made to it, and load it."""
    b = small()
    b.then("Flatten")
    b.then("Gemm", b.weights(5, 64), transB=1)
    model = b.model()
    for each in changes:
        each(model)
    path.write_bytes(model.SerializeToString())
    return xnorflow.load(path)


def external(model):
    tensor = model.graph.initializer[1]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def branch(model):
    graph = helper.make_graph([], "inside", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], "If_9", then_branch=graph))


def twice(model):
    """Forty doublings of one constant."""
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1 << 10), "d0"))
    for n in range(40):
        node = helper.make_node("Concat", [f"d{n}"] * 2, [f"d{n + 1}"], f"Twice_{n}", axis=0)
        model.graph.node.append(node)


def batch(size):
    def apply(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size

    return apply


def attribute(name, value):
    return lambda model: setattr(model.graph.node[1], name, value)


FILES = {
    "external": (external, FormatError, "has its tensor c1 in another file: save the model with"),
    "domain": (attribute("domain", "os"), LoweringError, "of the domain 'os', which is not known"),
    "graph": (branch, LoweringError, r"If_9 \(If\) has an attribute then_branch that is a graph"),
    "doubling": (twice, LoweringError, "computes constants of more than 67,108,864 values"),
    "batch": (batch(100), FormatError, "takes batches of 100 frames: export it with one"),
    "opset": (
        lambda model: setattr(model.opset_import[0], "version", 99),
        FormatError,
        "has opset 99: accepted are 7 to",
    ),
    "size": (
        lambda model: model.graph.input[0].type.tensor_type.shape.dim[2].Clear(),
        FormatError,
        "has an input x whose frames have no fixed size",
    ),
    "huge": (
        lambda model: model.graph.initializer[0].dims.extend([1 << 40]),
        FormatError,
        "which is too big",
    ),
    "short": (
        lambda model: model.graph.initializer[1].dims.append(2),
        FormatError,
        r"net\.onnx is damaged: ",
    ),
    "no input": (lambda model: model.graph.ClearField("input"), FormatError, "has 0 inputs"),
    "no nodes": (lambda model: model.graph.ClearField("node"), FormatError, "without nodes"),
    "unknown": (
        lambda model: model.graph.node[2].input.__setitem__(0, "gone"),
        LoweringError,
        r"Conv_2 \(Conv\) reads 'gone' before it is there",
    ),
    "output": (
        lambda model: setattr(model.graph.output[0], "name", "x"),
        LoweringError,
        "the input does not decide the output 'x'",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused(path, name):
    alter, kind, message = FILES[name]
    assert change(path).maps["gemm_6"].channels == 5
    with pytest.raises(kind, match=message):
        change(path, alter)


def test_a_damaged_file_is_refused_in_one_sentence(path):
    """Or read, where the damage is in a number: nothing else may happen."""
    change(path)
    good = path.read_bytes()
    rng = random.Random(0)
    kinds, sentences = set(), []
    for _ in range(300):
        data = bytearray(good)
        if rng.random() < 0.3:
            data = data[: rng.randrange(len(data))]
        else:
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            xnorflow.load(path)
        except XnorflowError as error:
            kinds.add(type(error))
            sentences.append(str(error))
    assert not any("\n" in each or len(each) > 900 for each in sentences)
    assert kinds == {FormatError, LoweringError}


def test_files_that_are_none(path, tmp_path, monkeypatch):
    with pytest.raises(FormatError, match=r"net\.onnx cannot be read: No such file"):
        xnorflow.load(path)
    with path.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(FormatError, match="has 3,221,225,472 bytes: an ONNX file must have less"):
        xnorflow.load(path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ToolError, match=r"more packages: pip install 'xnorflow\[qonnx\]'"):
        xnorflow.load(path)
    with pytest.raises(FormatError, match="says itself what its input is"):
        xnorflow.load(tmp_path / "net.xnf", scale=1)
