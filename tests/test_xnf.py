import errno
import hashlib
import json
import os
import re

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import networks, random_frames
from xnorflow.errors import FormatError
from xnorflow.ir import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    FeatureMap,
    Gate,
    IntegerConv,
    MaxPool,
    Network,
    Provenance,
    Quantisation,
    Threshold,
    UInt,
    xnf,
)
from xnorflow.sw.golden import golden


def example(**changes):
    """Smallest network that uses every field of the format."""
    nodes = (
        Threshold("bits", INPUT, np.array([100, 7, 0]), inverted=np.array([True, False, True])),
        BinaryConv("conv", "bits", np.ones((2, 1, 3, 3), bool), gate=Gate.AND, popcount=True),
        Affine("scores", "conv", np.array([1, -2]), np.array([3, 4]), np.array([5, -6])),
        ArgMax("label", "scores"),
    )
    arguments = {
        "name": "example",
        "input": FeatureMap(1, 3, 3, UInt(8)),
        "nodes": nodes,
        "labels": ("α", "b"),
        "provenance": Provenance("mnist", "TFC", "sign", "default", 3, 40, 0.9375),
    }
    return Network(**arguments | changes)


def contents(data):
    """Graph and tensors of a file."""
    tensors = safetensors.numpy.load(data)
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["xnf"]), tensors


def assemble(graph, tensors, key="xnf"):
    """A file of any content, with the right checksum."""
    text = graph if isinstance(graph, str) else json.dumps(graph | {"sha256": "0" * 64})
    data = safetensors.numpy.save(tensors, {key: text})
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def refuse(data, reason):
    with pytest.raises(FormatError) as caught:
        xnf.loads(data)
    assert str(caught.value) == f"is not a valid .xnf file: {reason}"


def files(folder):
    return [path.name for path in folder.iterdir()]


# -- what is written is read back -----------------------------------------------------------------


@given(networks)
def test_round_trip(network):
    data = xnf.dumps(network)

    again = xnf.loads(data)

    assert xnf.dumps(again) == data
    assert (again.name, again.input, again.labels) == (network.name, network.input, network.labels)
    assert again.provenance == network.provenance
    assert again.maps == network.maps
    for node, other in zip(network.nodes, again.nodes, strict=True):
        assert type(other) is type(node)
        for name, value in vars(node).items():
            np.testing.assert_array_equal(getattr(other, name), value, strict=True)


def test_a_quantisation_is_written_where_there_is_one():
    network = example(quantisation=Quantisation(0.1, -3))
    graph, tensors = contents(xnf.dumps(network))
    assert graph["quantisation"] == {"scale": 0.1, "zero_point": -3}
    assert xnf.loads(xnf.dumps(network)).quantisation == network.quantisation
    assert xnf.loads(xnf.dumps(example())).quantisation is None
    for wrong, reason in (
        (3, "the graph has a wrong quantisation: 3"),
        ({"scale": 0.1}, "the quantisation must have exactly the fields scale, zero_point"),
        ({"scale": -0.1, "zero_point": 0},
         "the scale of an input must be a positive number, not -0.1"),
    ):  # fmt: skip
        refuse(assemble(graph | {"quantisation": wrong}, tensors), reason)


def test_layout():
    """The documented layout, field by field, so that other programs can rely on it."""
    bits = np.zeros((2, 1, 3, 3), bool)
    bits[1, 0, 0, 0] = bits[1, 0, 1, 0] = bits[1, 0, 2, 2] = True
    conv = BinaryConv("conv", "bits", bits, gate=Gate.AND, popcount=True)
    network = example(nodes=(example().nodes[0], conv, *example().nodes[2:]))

    graph, tensors = contents(xnf.dumps(network))

    assert graph | {"sha256": ""} == {
        "version": 1,
        "sha256": "",
        "name": "example",
        "input": {"height": 1, "width": 3, "channels": 3, "type": "uint8"},
        "nodes": [
            {"name": "bits", "source": "input", "kind": "threshold", "fraction": 0},
            {
                "name": "conv",
                "source": "bits",
                "kind": "binary_conv",
                "kernel": [1, 3, 3],
                "stride": 1,
                "padding": 0,
                "gate": "and",
                "popcount": True,
            },
            {"name": "scores", "source": "conv", "kind": "affine", "rounding": None},
            {"name": "label", "source": "scores", "kind": "argmax"},
        ],
        "labels": ["α", "b"],
        "provenance": {
            "dataset": "mnist",
            "model": "TFC",
            "method": "sign",
            "recipe": "default",
            "seed": 3,
            "epochs": 40,
            "float_accuracy": 0.9375,
        },
    }
    assert {name: (a.dtype, a.tolist()) for name, a in tensors.items()} == {
        "bits.thresholds": (np.int64, [100, 7, 0]),
        "bits.inverted": (np.uint8, [[1], [0], [1]]),
        "conv.weights": (np.uint8, [[0, 0], [0b0000_1001, 0b1]]),
        "scores.scale": (np.int64, [1, -2]),
        "scores.offset": (np.int64, [3, 4]),
        "scores.popcount_scale": (np.int64, [5, -6]),
    }
    assert assemble(graph, tensors) == xnf.dumps(network)


def convolutions():
    """Smallest network with every field that `example` lacks."""
    nodes = (
        IntegerConv("stem", INPUT, np.array([1, -2, 300, 4]).reshape(2, 1, 2, 1)),
        Threshold("bits", "stem", np.array([[7, 0], [5, 1]]), classes=np.array([[0, 1], [1, 1]])),
        MaxPool("pool", "bits", 2, np.array([False, True])),
        BinaryConv("conv", "pool", np.ones((2, 1, 1, 2), bool), stride=3),
        Affine("scores", "conv", np.array([1, -2]), np.array([3, 4])),
        ArgMax("label", "scores"),
    )
    return Network("convolutions", FeatureMap(2, 3, 1, UInt(8)), nodes, ("a", "b"))


def test_layout_of_convolutions():
    graph, tensors = contents(xnf.dumps(convolutions()))

    stem, bits, pool, conv, *_ = graph["nodes"]
    windows = {"kernel": [1, 2, 1], "stride": 1, "padding": 0}
    assert stem == {"name": "stem", "source": "input", "kind": "integer_conv"} | windows
    assert bits == {"name": "bits", "source": "stem", "kind": "threshold", "fraction": 0}
    assert pool == {"name": "pool", "source": "bits", "kind": "max_pool", "size": 2}
    assert conv["stride"] == 3
    del tensors["conv.weights"], tensors["scores.scale"], tensors["scores.offset"]
    assert {name: (a.dtype, a.tolist()) for name, a in tensors.items()} == {
        "stem.weights": (np.int16, [[1, -2], [300, 4]]),
        "bits.thresholds": (np.int64, [[7, 0], [5, 1]]),
        "bits.classes": (np.int64, [[0, 1], [1, 1]]),
        "pool.inverted": (np.uint8, [[0], [1]]),
    }
    assert xnf.dumps(xnf.loads(xnf.dumps(convolutions()))) == xnf.dumps(convolutions())


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("stem.weights", np.zeros((2, 3), np.int16),
         "the tensor 'stem.weights' has 3 integers a row, not as the kernel"),
        ("stem.weights", np.zeros((2, 2), np.int64),
         "the tensor 'stem.weights' must be of type I16 and have 2 axes"),
        ("bits.classes", np.zeros((2, 2), np.int64),
         "bits: its pixels must have the classes 0…1, and each of them"),
        ("bits.classes", np.array([[0, 1]]),
         "bits: it has classes for 1×2 pixels, its source has 2×2"),
        ("bits.thresholds", np.zeros(2, np.int64),
             "bits: thresholds has the wrong shape (2,)"),
            ("pool.inverted", np.zeros((3, 1), np.uint8),
         "pool: it has 3 channels, its source 2"),
    ],
)  # fmt: skip
def test_refuses_tensors_of_convolutions(name, array, reason):
    graph, tensors = contents(xnf.dumps(convolutions()))
    refuse(assemble(graph, tensors | {name: array}), reason)


def test_bytes_never_change():
    """A change of this digest is a change of the format: then raise its version."""
    digest = hashlib.sha256(xnf.dumps(example())).hexdigest()
    assert digest == "a0170c236ffd9ccadbcad3579bd8eb851d1ae168f0879601ec7892918903a980"


# -- files ----------------------------------------------------------------------------------------


def test_save_and_load(tmp_path):
    path = tmp_path / "net.xnf"
    path.write_bytes(b"an older file")

    xnf.save(example(), path)

    assert xnf.dumps(xnf.load(path)) == path.read_bytes() == xnf.dumps(example())
    assert files(tmp_path) == ["net.xnf"]


def test_saved_file_has_the_usual_mode(tmp_path):
    umask = os.umask(0o027)
    try:
        xnf.save(example(), tmp_path / "net.xnf")
    finally:
        os.umask(umask)
    assert (tmp_path / "net.xnf").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace", "open"])
def test_failed_save_leaves_no_trace(tmp_path, monkeypatch, step, code, reason):
    path = tmp_path / "net.xnf"
    path.write_bytes(b"an older file")

    def fail(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr({"fsync": "os.fsync", "replace": "pathlib.Path.replace",
                         "open": "pathlib.Path.open"}[step], fail)  # fmt: skip
    with pytest.raises(FormatError, match=rf"^{re.escape(str(path))} cannot be written: {reason}$"):
        xnf.save(example(), path)
    monkeypatch.undo()

    assert path.read_bytes() == b"an older file"
    assert files(tmp_path) == ["net.xnf"]


def test_interrupted_save_leaves_no_trace(tmp_path, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        xnf.save(example(), tmp_path / "net.xnf")
    assert files(tmp_path) == []


@pytest.mark.parametrize("path", [".", "/"])
def test_save_into_a_folder_without_a_name(path):
    with pytest.raises(FormatError, match=f"^{path} cannot be written: Is a directory$"):
        xnf.save(example(), path)


def test_save_into_a_missing_folder(tmp_path):
    path = tmp_path / "nowhere" / "net.xnf"
    with pytest.raises(
        FormatError, match=rf"^{re.escape(str(path))} cannot be written: No such file or directory$"
    ):
        xnf.save(example(), path)


def test_load_names_the_file(tmp_path):
    path = tmp_path / "net.xnf"
    with pytest.raises(
        FormatError, match=rf"^{re.escape(str(path))} cannot be read: No such file or directory$"
    ):
        xnf.load(path)
    with pytest.raises(
        FormatError, match=rf"^{re.escape(str(tmp_path))} cannot be read: Is a directory$"
    ):
        xnf.load(tmp_path)
    path.write_bytes(b"PK")
    with pytest.raises(
        FormatError,
        match=rf"^{re.escape(str(path))} is not a valid \.xnf file: "
        r"it is damaged, or not a safetensors file at all$",
    ):
        xnf.load(path)


# -- damaged files --------------------------------------------------------------------------------


def test_refuses_every_truncation():
    data = xnf.dumps(example())
    for length in range(len(data)):
        with pytest.raises(FormatError):
            xnf.loads(data[:length])


def test_refuses_every_flipped_bit():
    data = xnf.dumps(example())
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            with pytest.raises(FormatError):
                xnf.loads(bytes(flipped))


@given(st.binary(max_size=200))
def test_refuses_any_other_file(data):
    with pytest.raises(FormatError):
        xnf.loads(data)


@given(networks, st.data())
def test_refuses_spliced_files(network, draw):
    data = xnf.dumps(network)
    start = draw.draw(st.integers(0, len(data)))
    stop = draw.draw(st.integers(start, min(len(data), start + 64)))
    piece = draw.draw(st.binary(max_size=64))
    spliced = data[:start] + piece + data[stop:]
    if spliced != data:
        with pytest.raises(FormatError):
            xnf.loads(spliced)


# -- hostile files: everything is well-formed up to the point in question, checksum included ------

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["conv", "bits", "input", "scores", "xnor", "uint8", 0, 1, 8, 2**63, 2**70]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)  # fmt: skip


def places(value, path=()):
    """Every position in a JSON value."""
    yield path
    match value:
        case dict():
            items = value.items()
        case list():
            items = enumerate(value)
        case _:
            items = ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replace(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replace(copy[path[0]], path[1:], new)
    return copy


def load_or_refuse(data):
    """The one property of every file: a valid network, or one sentence."""
    reason = ""
    try:
        network = xnf.loads(data)
    except FormatError as error:
        reason = str(error)
    if reason:
        assert reason.startswith("is not a valid .xnf file: ")
        assert reason.isprintable()
        assert len(reason) < 400
    else:
        assert xnf.dumps(xnf.loads(xnf.dumps(network))) == xnf.dumps(network)


@given(networks, st.data())
def test_survives_any_value_in_the_graph(network, draw):
    graph, tensors = contents(xnf.dumps(network))
    for _ in range(draw.draw(st.integers(1, 3))):
        path = draw.draw(st.sampled_from(list(places(graph))[1:]))
        graph = replace(graph, path, draw.draw(any_json))
    load_or_refuse(assemble(graph, tensors))


@given(networks, st.data())
def test_survives_any_tensor(network, draw):
    graph, tensors = contents(xnf.dumps(network))
    name = draw.draw(st.sampled_from([*tensors, "conv0.x", "", "."]))
    dtype = draw.draw(st.sampled_from([np.uint8, np.int64, np.int32, np.float64, np.bool_]))
    shape = draw.draw(st.lists(st.integers(0, 5), max_size=4))
    values = draw.draw(st.integers(-(2**63), 2**63 - 1))
    tensors[name] = np.full(shape, values, np.int64).astype(dtype)
    load_or_refuse(assemble(graph, tensors))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "its version is 2, and only versions up to 1 are known"),
        ({"version": 0}, "it does not say its version"),
        ({"version": True}, "it does not say its version"),
        ({"version": "1"}, "it does not say its version"),
        ({"extra": 1}, "the graph must have exactly the fields version, sha256, name, input, "
                       "nodes, labels, provenance"),
        ({"nodes": {}}, "the graph has a wrong nodes: {}"),
        ({"labels": ["a"]}, "example: there are 1 labels for 2 classes"),
        ({"labels": ["a", "\x1b[31m"]},
         "example: a label must be 1 to 200 printable characters, not '\\x1b[31m'"),
        ({"labels": ["a", "\ud800"]},
         "example: a label must be 1 to 200 printable characters, not '\\ud800'"),
        ({"input": {}}, "the input must have exactly the fields height, width, channels, type"),
        ({"input": {"height": 1, "width": 3, "channels": 3, "type": "uint0"}},
         "there is no type 'uint0'"),
        ({"input": {"height": 1, "width": 3, "channels": 3, "type": "uint99"}},
         "bits of an unsigned integer must be an integer from 1 to 32, not 99"),
        ({"input": {"height": 1, "width": 1 << 40, "channels": 3, "type": "bit"}},
         "width of a feature map must be an integer from 1 to 65536, not 1099511627776"),
        ({"provenance": {}}, "the provenance must have exactly the fields dataset, model, method, "
                             "recipe, seed, epochs, float_accuracy"),
    ],
)  # fmt: skip
def test_refuses_graph(change, reason):
    graph, tensors = contents(xnf.dumps(example()))
    refuse(assemble(graph | change, tensors), reason)


@pytest.mark.parametrize(
    ("index", "change", "reason"),
    [
        (0, {"kind": "conv"}, "there is no kind of node 'conv'"),
        (0, {"kind": ["threshold"]}, "there is no kind of node ['threshold']"),
        (0, {"rho": 1}, "a node of kind threshold must have exactly the fields kind, name, "
                        "source, fraction"),
        (0, {"fraction": 0.0}, "a node of kind threshold has a wrong fraction: 0.0"),
        (0, {"fraction": True}, "a node of kind threshold has a wrong fraction: True"),
        (0, {"fraction": 17}, "bits: fraction must be an integer from 0 to 16, not 17"),
        (1, {"gate": "nand"}, "there is no gate 'nand'"),
        (1, {"kernel": [1, 3]}, "a kernel must be three positive integers, not [1, 3]"),
        (1, {"kernel": [1, -3, -3]}, "a kernel must be three positive integers, not [1, -3, -3]"),
        (1, {"kernel": [1 << 16, 1 << 16, 1 << 16]},
         "the tensor 'conv.weights' has 2 bytes a row for 281474976710656 bits"),
        (1, {"kernel": [1, 2, 4]}, "the tensor 'conv.weights' has 2 bytes a row for 8 bits"),
        (1, {"kernel": [2, 2, 2]}, "the tensor 'conv.weights' has 2 bytes a row for 8 bits"),
        (1, {"kernel": [1, 3, 4]}, "conv: a kernel of 1×3×4 does not fit a map of 1×3×3"),
        (1, {"source": "label"}, "conv: its source 'label' does not come before it"),
        (1, {"popcount": False}, "scores: it needs the shared popcount, "
                                 "which its source does not deliver"),
        (2, {"name": "x" * 100}, f"the tensor '{'x' * 59}… is missing"),
    ],
)  # fmt: skip
def test_refuses_node(index, change, reason):
    graph, tensors = contents(xnf.dumps(example()))
    refuse(assemble(replace(graph, ("nodes", index), graph["nodes"][index] | change), tensors),
           reason)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("conv.weights", None, "the tensor 'conv.weights' is missing"),
        ("conv.weights", np.zeros((2, 2), np.int8),
         "the tensor 'conv.weights' must be of type U8 and have 2 axes"),
        ("conv.weights", np.zeros(4, np.uint8),
         "the tensor 'conv.weights' must be of type U8 and have 2 axes"),
        ("conv.weights", np.zeros((2, 3), np.uint8),
         "the tensor 'conv.weights' has 3 bytes a row for 9 bits"),
        ("conv.weights", np.array([[0, 0], [0, 2]], np.uint8),
         "the tensor 'conv.weights' has bits beyond the end of a row"),
        ("conv.weights", np.zeros((0, 2), np.uint8),
         "the tensor 'conv.weights' is empty"),
        ("bits.inverted", np.array([[1], [2], [0]], np.uint8),
         "the tensor 'bits.inverted' has bits beyond the end of a row"),
        ("bits.thresholds", np.zeros(3, np.float64),
         "the tensor 'bits.thresholds' must be of type I64 and have 1 or 2 or 3 axes"),
        ("bits.thresholds", np.full(3, -(2**63)), "bits: thresholds has values beyond 40 bits"),
        ("scores.scale", np.full(2, 2**39),
         "scores: its values need 44 bits, more than 32"),
        ("scores.extra", np.zeros(2, np.int64), "no node owns the tensor 'scores.extra'"),
    ],
)  # fmt: skip
def test_refuses_tensor(name, array, reason):
    graph, tensors = contents(xnf.dumps(example()))
    if array is None:
        del tensors[name]
    else:
        tensors[name] = array
    refuse(assemble(graph, tensors), reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "its header is not valid JSON"),
        ("[1]", "its header is not a JSON object"),
        ('{"version": 1, "version": 1}', "its header is not valid JSON"),
        ('{"version": NaN}', "its header is not valid JSON"),
        ("[" * 100_000, "its header is not valid JSON"),
        ('{"version": ' + "9" * 10_000 + "}", "its header is not valid JSON"),
        ("{}", "it does not say its version"),
    ],
)
def test_refuses_json(text, reason):
    refuse(assemble(text, {"x": np.zeros(1)}), reason)


def test_reads_thresholds_out_of_range_as_constant_bits():
    """Other programs write them so; networks that are made here keep to the range."""
    graph, tensors = contents(xnf.dumps(example()))
    tensors["bits.thresholds"] = np.array([-(2**40) + 1, 257, 256])
    tensors["bits.inverted"] = np.array([[0], [0], [1]], np.uint8)

    network = xnf.loads(assemble(graph, tensors))

    assert network.nodes[0].thresholds.tolist() == [0, 256, 256]
    frames = random_frames(np.random.default_rng(0), network.input, 40)
    bits = golden(network, frames, keep=["bits"]).maps["bits"].numpy()
    assert np.array_equal(bits, np.broadcast_to([True, False, True], (40, 1, 3, 3)))
    assert xnf.loads(xnf.dumps(network)).nodes[0].thresholds.tolist() == [0, 256, 256]


def test_refuses_a_wrong_checksum():
    data = xnf.dumps(example())
    flipped = bytearray(data)
    flipped[-1] ^= 1
    refuse(bytes(flipped), "it is damaged: its checksum is wrong")
    graph, tensors = contents(data)
    text = json.dumps(graph | {"sha256": "\ud800"})
    refuse(assemble(text, tensors), "it is damaged: its checksum is wrong")


def test_refuses_other_safetensors_files():
    tensors = {"weight": np.zeros(3, np.float32)}
    for data in (
        safetensors.numpy.save(tensors),
        safetensors.numpy.save(tensors, {"format": "pt"}),
        assemble(*contents(xnf.dumps(example())), key="fnx"),
    ):
        refuse(data, "it is a safetensors file with other content")
