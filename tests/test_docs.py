"""What the documents say works: Python runs, links lead somewhere, commands exist."""

import importlib
import re
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.windows import random_axis, windows_by
from xnorflow.cli import main
from xnorflow.errors import NetworkError
from xnorflow.ir import (
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Bit,
    Concat,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    GlobalSum,
    Int,
    IntegerConv,
    MaxPool,
    MultiThreshold,
    Node,
    PadChannels,
    Rounding,
    Subsample,
    SumPool,
    Threshold,
    TwoSlope,
    Upsample,
)


ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md"])
WITH_PYTHON = [page for page in PAGES if "```python\n" in page.read_text("utf-8")]


DRAWINGS = [ROOT / "docs" / "images" / name for name in ("road.svg", "layer.svg", "rooms.svg")]
ROOM = 5
"""Between words and the edges of boxes."""


def words_and_boxes(drawing):
    """Words with the rectangles that they take in a wide font, and the rectangles of boxes."""
    words, boxes = [], []

    def visit(element, inherited):
        own = inherited | element.attrib
        tag = element.tag.rpartition("}")[2]
        if tag == "rect" and "rx" in element.attrib:
            x, y, width, height = (float(own[name]) for name in ("x", "y", "width", "height"))
            boxes.append((x, y, x + width, y + height))
        elif tag == "text":
            x, y, size = float(own["x"]), float(own["y"]), float(own["font-size"])
            width = size * len(element.text) * (0.7 if "font-weight" in own else 0.62)
            left = x - width / 2 if own.get("text-anchor") == "middle" else x
            words.append((element.text, (left, y - 0.75 * size, left + width, y + 0.2 * size)))
        for child in element:
            visit(child, {name: own[name] for name in INHERITED if name in own})

    visit(ElementTree.parse(drawing).getroot(), {})
    return words, boxes


INHERITED = "font-size", "font-weight", "text-anchor"


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.stem)
def test_no_word_touches_a_box(drawing):
    words, boxes = words_and_boxes(drawing)
    assert words
    assert boxes
    for word, (left, top, right, bottom) in words:
        for x0, y0, x1, y1 in boxes:
            inside = (
                left >= x0 + ROOM and right <= x1 - ROOM
                and top >= y0 + ROOM and bottom <= y1 - ROOM
            )  # fmt: skip
            outside = (
                right <= x0 - ROOM or left >= x1 + ROOM or bottom <= y0 - ROOM or top >= y1 + ROOM
            )
            assert inside or outside, f"{word!r} touches the box at {x0:g}, {y0:g}"


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_runs(page, mnist, monkeypatch, tmp_path, capsys):
    """From the top of a page to its end, as a reader would run it."""
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    names, any_promised = {}, False
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
        # Where a line says what it prints, it prints that.
        promised = re.findall(r"print\(.*\)  # (tensor.*|\(.*\)|\[.*\])$", block, re.M)
        printed = capsys.readouterr().out
        assert all(text in printed for text in promised)
        any_promised |= bool(promised)
    assert any_promised


def anchors_of(page):
    """What links to a page may end with: its headings, as GitHub and MkDocs both spell them."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    for target in [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r' src="([^"]+)"', text)]:
        if "://" not in target:
            path, _, anchor = target.partition("#")
            found = page.parent / path if path else page
            assert found.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors_of(found), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_that_they_are_shown_with(page, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    for line in re.findall(r"^\$ xnorflow (.*)$", page.read_text("utf-8"), re.M):
        words = shlex.split(line, comments=True)
        command = words[: 2 if words[0] == "data" else 1]
        monkeypatch.setattr(sys, "argv", ["xnorflow", *command, "--help"])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 0
        help_text = capsys.readouterr().out
        for word in words:
            assert not word.startswith("-") or word in help_text, line


def sizes_of_kinds():
    """Sizes of each kind of node in docs/reference/format.md: Python for rows, and channels."""
    text = (ROOT / "docs" / "reference" / "format.md").read_text("utf-8")
    found = {}
    for row in re.findall(r"^\| (`.*) \| `(.*)` \| `(.*)` \|.*\|$", text, re.M):
        floored = [re.sub(r"⌊(.*) / (.*)⌋", r"(\1) // \2", part) for part in row[1:]]
        sides, channels = (re.sub(r"⌈(.*) / (.*)⌉", r"-(-(\1) // \2)", part) for part in floored)
        for kind in re.findall(r"`(\w+)`", row[0]):
            assert kind not in found
            found[kind] = sides.replace("·", "*").replace("−", "-"), channels
    return found


def nodes_of_every_kind(x, rng):
    """A node of each kind of the format that a map of integers can feed, with its numbers."""
    c = x.channels
    few, ones = {"size": 2 ** int(rng.integers(1, 3))}, np.ones(c, int)
    axes = [random_axis(rng, 9, most=3) for _ in range(2)]
    windows, by_side = windows_by(*axes), [asdict(axis) | {"kernel": axis.taps} for axis in axes]
    pools = [random_axis(rng, 9, most=3, dilated=False) for _ in range(2)]
    pool = windows_by(*pools) | {"size": tuple(axis.taps for axis in pools)}
    del pool["dilation"]
    by_pool = {"axes": [asdict(axis) | {"size": axis.taps} for axis in pools]}
    shape = int(rng.integers(1, 5)), *(axis.taps for axis in axes), c
    factor = {"factor": int(rng.integers(1, 4))}
    stride = {"stride": int(rng.integers(2, 5))}
    pad = {"before": int(rng.integers(3)), "after": int(rng.integers(3))}
    other, rounding = replace(x, channels=3), Rounding(0, 8)
    parameters = FeatureMap(1, 1, 2 * c, x.type)
    frames = x, parameters
    bits, windows_of = replace(x, type=Bit()), {"axes": by_side, "filters": shape[0]}
    return {
        "binary_conv": (BinaryConv("n", "x", np.ones(shape, bool), **windows), windows_of, bits),
        "integer_conv": (IntegerConv("n", "x", np.ones(shape, int), **windows), windows_of, x),
        "max_pool": (MaxPool("n", "x", **pool), by_pool, bits),
        "sum_pool": (SumPool("n", "x", **pool), by_pool, x),
        "average_pool": (AveragePool("n", "x", **few), few, x),
        "upsample": (Upsample("n", "x", **factor), factor, x),
        "subsample": (Subsample("n", "x", **stride), stride, x),
        "global_sum": (GlobalSum("n", "x"), {}, x),
        "threshold": (Threshold("n", "x", ones), {}, x),
        "multi_threshold": (MultiThreshold("n", "x", np.ones((3, c), int)), {}, x),
        "affine": (Affine("n", "x", ones, ones), {}, x),
        "two_slope": (TwoSlope("n", "x", ones, ones, rounding), {}, x),
        "dynamic_threshold": (DynamicThreshold("n", "x", "p"), {}, *frames),
        "dynamic_two_slope": (DynamicTwoSlope("n", "x", "p", ones, ones, rounding), {}, *frames),
        "add": (Add("n", "x", "y", 8), {}, x, x),
        "concat": (Concat("n", "x", "y", ("z",)), {"other": 3, "more": c}, x, other, x),
        "pad_channels": (PadChannels("n", "x", **pad), pad, x),
        "argmax": (ArgMax("n", "x"), {}, FeatureMap(1, 1, c, x.type)),
    }


def test_sizes_are_those_that_the_format_says():
    rng = np.random.default_rng(0)
    said = sizes_of_kinds()
    for _ in range(200):
        x = FeatureMap(*(int(n) for n in rng.integers(1, 9, 2)), int(rng.integers(1, 4)), Int(8))
        nodes = nodes_of_every_kind(x, rng)
        assert said.keys() == nodes.keys()
        assert {type(node) for node, *_ in nodes.values()} == set(Node.kinds.values())
        for kind, (node, numbers, *sources) in nodes.items():
            values = [numbers | {"n": n, "c": x.channels} for n in sources[0].shape[:2]]
            if "axes" in numbers:
                values = [v | axis for v, axis in zip(values, numbers["axes"], strict=True)]
            sides, channels = said[kind]
            shape = [eval(sides, {}, v) for v in values] + [eval(channels, {}, values[0])]
            if min(shape) < 1:
                with pytest.raises(NetworkError, match=r" does not fit a map of "):
                    node.infer(*sources)
            else:
                assert list(node.infer(*sources).shape) == shape, kind


def test_tables_are_those_of_the_results(monkeypatch):
    """Nothing is typed by hand, and nothing was measured without being told."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    tables = importlib.import_module("tables")
    for path, content in tables.pages().items():
        assert path.read_text(encoding="utf-8") == content, f"run bench/tables.py for {path.name}"
