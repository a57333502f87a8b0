import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import networks, random_frames
from tests.xnf_files import assemble, contents, convolutions, example, refuse
from xnorflow.errors import FormatError
from xnorflow.ir import (
    xnf,
)
from xnorflow.sw.golden import golden


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
