"""What the documents say works: Python runs, links lead somewhere, commands exist."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from xnorflow.cli import main


ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")])
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{n}")
    for page in PAGES
    for n, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S))
]


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
