import errno
import hashlib
import os
import re

import numpy as np
import pytest
from hypothesis import given

from tests.strategies import networks
from tests.xnf_files import assemble, contents, convolutions, example, files, refuse
from xnorflow.errors import FormatError
from xnorflow.ir import (
    BinaryConv,
    Gate,
    Quantisation,
    xnf,
)


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
