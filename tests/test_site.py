"""The documentation as a site."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xnorflow
from xnorflow import nn
from xnorflow.cli import app


ROOT = Path(__file__).parent.parent


def described(page):
    """Names that a page of the reference takes from the code."""
    text = (ROOT / "docs" / "reference" / page).read_text("utf-8")
    return sorted(re.findall(r"^::: (\S+)$", text, re.M))


def test_every_public_name_is_in_the_reference():
    assert described("api.md") == sorted(f"{room}.{name}" for name, room in xnorflow._WHERE.items())
    assert described("layers.md") == sorted(f"xnorflow.nn.{name}" for name in nn.__all__)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All pages, built with warnings as errors: links, anchors, docstrings."""
    pytest.importorskip("mkdocs", reason="`pip install 'xnorflow[docs]'`")
    folder = tmp_path_factory.mktemp("site")
    found = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return folder


def test_every_command_is_in_the_reference(site):
    text = (site / "reference" / "cli" / "index.html").read_text("utf-8")
    names = [command.name for command in app.registered_commands]
    assert names
    assert all(f"<code>xnorflow {name}</code>" in text for name in names)


def test_can_be_searched(site):
    index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
    assert any("border class" in page["text"] for page in index["docs"])


def test_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert pages
    for page in pages:
        text = page.read_text("utf-8")
        assert not re.search(r'<(script|img|link)[^>]* (src|href)="?(https?:)?//', text), page


def test_every_notebook_is_a_page(site):
    notebooks = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        text = (site / "notebooks" / path.stem / "index.html").read_text("utf-8")
        title, *_ = json.loads(path.read_text("utf-8"))["cells"][0]["source"]
        assert f"{title.removeprefix('# ').strip()}<a" in text
        assert f'href="../{path.name}"' in text
        assert (site / "notebooks" / path.name).read_bytes() == path.read_bytes()
