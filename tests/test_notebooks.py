"""Notebooks of docs/: they run as they are, and print what they say."""

import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
nbclient = pytest.importorskip("nbclient", reason="`pip install 'xnorflow[dev]'`")
nbformat = pytest.importorskip("nbformat", reason="`pip install 'xnorflow[dev]'`")


def read(path, *, slow=True):
    """A notebook, without its slow cells unless they are wanted."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [c for c in notebook.cells if slow or "slow" not in c.metadata.get("tags", ())]
    return notebook


def promised(source):
    """What the lines of a cell say that they print."""
    return re.findall(r"^ *print\(.*\)  # ((?:tensor)?[\[(].*)$", source, re.M)


def check(notebook):
    """Every cell printed what it promises."""
    some = False
    for cell in notebook.cells:
        printed = "".join(each.text for each in cell.get("outputs", ()) if "text" in each)
        for text in promised(cell.source):
            assert text in printed.splitlines(), f"{cell.id} does not print {text}: {printed}"
            some = True
    assert some


def execute(path, folder, monkeypatch, *, slow=False):
    """Run a notebook in a folder, in a process of its own."""
    (folder / "zoo").symlink_to(ROOT / "zoo")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # see conftest.py
    notebook = read(path, slow=slow)
    client = nbclient.NotebookClient(
        notebook, timeout=540, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    check(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, mnist, monkeypatch, tmp_path):
    execute(path, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_builds_a_bitstream(mnist, monkeypatch, tmp_path):
    (path,) = (path for path in NOTEBOOKS if path.stem == "own-model")
    execute(path, tmp_path, monkeypatch, slow=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_as_it_is_written(path):
    """Valid, and without outputs or counts, which differ from run to run."""
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs"), f"{cell.id} has outputs"
        assert cell.get("execution_count") is None, f"{cell.id} was counted"


def test_a_broken_promise_is_found():
    cell = nbformat.v4.new_code_cell("print([1])  # [2]")
    cell.outputs = [nbformat.v4.new_output("stream", text="[1]\n")]
    with pytest.raises(AssertionError, match=r"does not print \[2\]"):
        check(nbformat.v4.new_notebook(cells=[cell]))
