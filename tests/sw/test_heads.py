"""Networks with several outputs, and scores of several layers, from layers to hardware."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import xnorflow
from tests.hw.driving import run, words_of
from tests.onnx_models import Builder
from xnorflow import nn as layers
from xnorflow.cli.shared import console, report_results
from xnorflow.errors import FormatError, LoweringError, NetworkError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import ArgMax, FeatureMap, Head, UInt, xnf
from xnorflow.scores import by_head, labels_of, top_k
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.frontend.qonnx.importing import import_onnx
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.grid import Grid


FRAME = FeatureMap(2, 3, 1, UInt(8))
COLOURS, SIDES = ("red", "green", "blue"), ("left", "right")


class Heads(nn.Module):
    """A layer, and dense layers behind it: what ``gives`` makes of their scores is returned."""

    def __init__(self, gives, sizes=(3, 1, 5), weights=None):
        super().__init__()
        torch.manual_seed(0)
        self.flatten = nn.Flatten()
        self.body = layers.BinaryLinear(6, 16, layers.SignWeight(), layers.InputThreshold())
        self.norm = nn.BatchNorm1d(16)
        self.act = layers.Sign()
        self.heads = nn.ModuleList(
            layers.BinaryLinear(16, size, weights or layers.AdaBinWeight(3, shared_scale=True))
            for size in sizes
        )
        self.gives = gives
        nn.init.normal_(self.norm.bias, std=0.2)

    def forward(self, x):
        x = self.act(self.norm(self.body(self.flatten(x))))
        return self.gives([head(x) for head in self.heads])


def frames(count):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *FRAME.shape), dtype=torch.uint8, generator=generator)


def check(model, network):
    """Labels of every head are those of the model, and the hardware has the same scores."""
    images = frames(200)
    report = compare(model, network, images)
    assert report.differing == 0, str(report)
    scores = golden(network, images).scores
    for each in by_head(scores, network.heads).values():
        assert len(np.unique(labels_of(each))) > 1
    design = fold(network, ECP5_85F, cycles=600)
    _, results = run(design, [words_of(x, design.input_lanes) for x in images[:3].numpy()])
    assert [found for *_, found in results] == scores[:3].tolist()


NAMED = {
    "tuple": (tuple, ["heads.0", "heads.1", "heads.2"]),
    "dict": (lambda x: {"colour": x[0], "on": x[1], "kind": x[2]}, ["colour", "on", "kind"]),
}


@pytest.mark.parametrize("kind", NAMED)
def test_every_output_is_a_head(kind):
    gives, names = NAMED[kind]
    model = Heads(gives).double().eval()
    network = lower(model, input=FRAME, labels={names[0]: COLOURS, names[1]: SIDES})
    assert network.heads == (
        Head(names[0], 3, COLOURS),
        Head(names[1], 1, SIDES),
        Head(names[2], 5),
    )
    assert network.label is None
    check(model, network)


class OnGrid(nn.Module):
    """A stream, and dense layers behind its means."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = layers.IntegerConv2d(1, 4, 1, mean=(0.5,), deviation=(0.2,))
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x):
        x = torch.flatten(self.pool(self.norm(self.stem(x))), 1)
        return self.second(x), self.first(x)


def test_outputs_on_a_grid():
    model = prepare(OnGrid().double().eval(), Grid(12, 6), FRAME)
    network = lower(model)
    assert network.heads == (Head("second", 2), Head("first", 3))
    check(model, network)


def test_scores_of_several_layers_may_be_one_output():
    """Scales of 0.5, 1 and 2, of which the smallest is the unit."""
    model = Heads(lambda x: torch.cat(x, dim=1), weights=layers.SignWeight(shared_scale=True))
    model.eval().double()
    for head, scale in zip(model.heads, (0.5, 1.0, 2.0), strict=True):
        head.weight.data = scale * head.weight.data.sign()
    network = lower(model, input=FRAME)
    assert len(network.labels) == 9
    check(model, network)
    model.heads[0].weight.data *= 0.3
    with pytest.raises(LoweringError, match=r"^the classes of .* have different scales"):
        lower(model, input=FRAME)


def test_files_keep_heads():
    network = lower(Heads(tuple).eval(), input=FRAME, labels={"heads.0": COLOURS})
    again = xnf.loads(xnf.dumps(network))
    assert again.heads == network.heads
    assert xnf.dumps(again) == xnf.dumps(network)
    field = rb"\"heads\": ["
    assert field in xnf.dumps(network)
    assert field not in xnf.dumps(replace(network, heads=()))
    with pytest.raises(FormatError, match="a head must be an object, not 3"):
        xnf._decode_head(3)


def test_the_command_line_shows_the_label_of_each_head():
    heads = Head("colour", 2), Head("on", 1)
    with console.capture() as shown:
        report_results(None, np.array([[1, 4, -2]]), None, None, heads)
    assert shown.get() == "frame 0: colour 1, on 0, scores [1, 4, -2]\n"


def test_the_best_classes_come_first_and_the_lowest_of_equal_ones():
    scores = np.array([[3, 5, 5, -1], [np.iinfo(int).min, 0, 1, np.iinfo(int).max]])
    assert xnorflow.top_k(scores, 3).tolist() == [[1, 2, 0], [3, 2, 1]]
    assert xnorflow.labels_of(torch.tensor(scores)).tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"^k must be from 1 to 4, not 5$"):
        top_k(scores, 5)
    with pytest.raises(ValueError, match=r"^the heads have 3 scores, not 4$"):
        by_head(scores, (Head("a", 3),))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda n: replace(n, heads=(Head("a", 8),)),
         "network: its heads have 8 scores, but it delivers 9"),
        (lambda n: replace(n, heads=(Head("a", 4), Head("a", 5))),
         "network: two heads have the same name"),
        (lambda n: replace(n, nodes=(*n.nodes, ArgMax("label", "scores")), labels="abcdefghi"),
         "network: with several heads there is no label of all scores"),
        (lambda _: Head("a", 3, ("x", "y")), "a: there are 2 labels for 3 classes"),
        (lambda _: Head("a", 2, ("x", "x")), "a: two classes have the same label"),
        (lambda _: Head("", 2),
         "a head's name must be 1 to 200 printable characters, not ''"),
    ],
)  # fmt: skip
def test_heads_are_checked(make, text):
    network = lower(Heads(tuple).eval(), input=FRAME)
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}$"):
        make(network)


@pytest.mark.parametrize(
    ("gives", "labels", "text"),
    [
        (
            tuple,
            COLOURS,
            "the labels of this model must be by its outputs' names, heads.0, heads.1,",
        ),
        (tuple, {"nose": COLOURS}, "the labels of this model must be by its outputs' names"),
        (lambda x: x[2], {"nose": COLOURS}, "the labels of this model must be a tuple"),
        (lambda x: (x[2], 3), None, "the model must return one tensor that its input decides, or"),
        (lambda _: (), None, "the model must return one tensor that its input decides, or"),
    ],
)
def test_what_is_no_output_is_refused(gives, labels, text):
    with pytest.raises(LoweringError, match=rf"^{re.escape(text)}"):
        lower(Heads(gives).eval(), input=FRAME, labels=labels)


def test_outputs_of_a_file_are_heads(tmp_path):
    b = Builder(1, 24)
    b.then("Sub", 128.0)
    body = b.then("BipolarQuant", 1.0)
    ends = []
    for size in (4, 3):
        b.x = b.call("MatMul", body, b.rng.choice([-1.0, 1.0], (24, size)))
        ends.append(b.then("TopK", np.array([2]), outputs=2))
    model = b.model()
    first = model.graph.output.add()
    first.name = f"{ends[0]}_1"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    imported = import_onnx(tmp_path / "net.onnx", input=FeatureMap(1, 1, 24, UInt(8)))
    assert imported.network.heads == (Head(ends[1], 3), Head(first.name, 4))
    assert [note.partition("; ")[0][-45:] for note in imported.notes] == [
        "left out: the 2 best classes are xnorflow.top_k(scores, 2)"[-45:]
    ] * 2
