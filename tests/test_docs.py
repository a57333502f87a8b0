"""What the documents say works: Python runs, links lead somewhere, commands exist."""

import importlib
import re
import shlex
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from xnorflow.cli import main


ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")])
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{n}")
    for page in PAGES
    for n, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S))
]


DRAWINGS = [ROOT / "docs" / name for name in ("road.svg", "layer.svg")]
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


@pytest.mark.parametrize("block", BLOCKS)
def test_python_runs(block, mnist, monkeypatch, tmp_path, capsys):
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "block", "exec"), {})
    # Where a line says what it prints, it prints that.
    promised = re.findall(r"print\(.*\)  # (tensor.*|\(.*\))$", block, re.M)
    printed = capsys.readouterr().out
    assert promised
    assert all(text in printed for text in promised)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


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


def test_tables_are_those_of_the_results(monkeypatch):
    """Nothing is typed by hand, and nothing was measured without being told."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    tables = importlib.import_module("tables")
    for path, content in tables.pages().items():
        assert path.read_text(encoding="utf-8") == content, f"run bench/tables.py for {path.name}"
